package main

import (
	"net/http"
	"slices"
	"strconv"

	"github.com/tracbus/tracbus"
	"github.com/tracbus/tracbus/examples/tracker/internal/markup"
	"github.com/tracbus/tracbus/trac"
)

// renamePage has a page go by another name, with its history.
func (s *site) renamePage(w http.ResponseWriter, r *http.Request, name string) error {
	if err := mustSignIn(r, "rename pages"); err != nil {
		return err
	}
	to, comment := oneLine(r.PostFormValue("to")), oneLine(r.PostFormValue("comment"))
	if err := checkNewName(to); err != nil {
		return err
	}
	err := mustMove(r, name, to)
	if err == nil {
		err = checkLine("comment", comment)
	}
	if err == nil {
		err = s.checkContent(r, comment, to)
	}
	if err != nil {
		return err
	}
	base, _ := strconv.ParseInt(r.PostFormValue("base"), 10, 64) // else it is no form of ours, and any version will do
	err = s.store(r, func(tx *tracbus.ModelTransaction) error {
		return tx.Save(r.Context(), trac.PageRename{Name: name, NewName: to, Comment: comment, Base: base})
	})
	if err != nil {
		return err
	}
	http.Redirect(w, r, markup.PageLink(to), http.StatusSeeOther)
	return nil
}

// deletePage deletes a page with all versions; the journal keeps them.
func (s *site) deletePage(w http.ResponseWriter, r *http.Request, name string) error {
	if err := mustSignIn(r, "delete pages"); err != nil {
		return err
	}
	comment := oneLine(r.PostFormValue("comment"))
	err := mustMove(r, name)
	if err == nil {
		err = checkLine("comment", comment)
	}
	if err == nil && name != "BadContent" {
		err = s.checkContent(r, comment, "")
	}
	if err != nil {
		return err
	}
	base, _ := strconv.ParseInt(r.PostFormValue("base"), 10, 64) // else it is no form of ours, and any version will do
	err = s.store(r, func(tx *tracbus.ModelTransaction) error {
		return tx.Delete(r.Context(), trac.PageEdit{Name: name, Comment: comment, Base: base})
	})
	if err != nil {
		return err
	}
	http.Redirect(w, r, "/wiki", http.StatusSeeOther)
	return nil
}

// mustMove leaves the page BadContent to the operators.
func mustMove(r *http.Request, pages ...string) error {
	if slices.Contains(pages, "BadContent") {
		return mustOperate(r, "say what is forbidden")
	}
	return nil
}
