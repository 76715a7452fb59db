package main

import (
	"errors"
	"fmt"
	"html/template"
	"net/http"
	"slices"
	"strconv"

	"github.com/tracbus/tracbus"
	"github.com/tracbus/tracbus/examples/tracker/internal/markup"
	"github.com/tracbus/tracbus/pages"
	"github.com/tracbus/tracbus/trac"
)

// wikiView is what the pages of a wiki page show.
type wikiView struct {
	Name    string
	Page    *wikiPage // nil: there is none
	HTML    template.HTML
	History history
	Form    wikiForm
	Links   []pages.InterMapEntry // of InterMapTxt, as they are in use
	Broken  error                 // why the page's text, or a part of it, is not in use
}

// wikiForm is a form with a page's text.
type wikiForm struct {
	Text, Comment, Author string
	Base                  int64 // the newest version that the visitor saw; 0: there was none
	Readonly, WasReadonly bool
	Problem               string
}

// showPages lists the pages. Their names are in memory: see changes.pages.
func (s *site) showPages(w http.ResponseWriter, r *http.Request) error {
	at, err := s.newest(r.Context())
	if err != nil {
		return err
	}
	names := slices.Sorted(s.pages.Get().All())
	return s.show(w, r, http.StatusOK, "pages.html", view{Title: "Wiki", Section: "wiki", Body: names, At: at})
}

// goToPage shows the page that a visitor named, or the form to create it.
func (s *site) goToPage(w http.ResponseWriter, r *http.Request) error {
	name := oneLine(r.PostFormValue("name"))
	if err := checkNewName(name); err != nil {
		return err
	}
	link := markup.PageLink(name)
	if !s.pages.Get().Has(name) {
		link += "?action=edit"
	}
	http.Redirect(w, r, link, http.StatusSeeOther)
	return nil
}

// checkName refuses names that Trac does, and those that its tables have no room
// for on every database.
func checkName(name string) error {
	if len(name) > 150 {
		return refusal{http.StatusUnprocessableEntity, "That name is too long: expected 150 bytes at most."}
	}
	return tracbus.ValidatePageName(name)
}

// checkNewName refuses what nobody is to call a page. One that is called so already, by
// another program, can be read and renamed.
func checkNewName(name string) error {
	if err := checkLine("name", name); err != nil {
		return err
	}
	return checkName(name)
}

func (s *site) showPage(w http.ResponseWriter, r *http.Request) error {
	name := r.PathValue("name")
	if err := checkName(name); err != nil {
		return err
	}
	if at := r.FormValue("diff"); at != "" {
		return s.showDifferences(w, r, tracbus.PageResource(name), at)
	}
	at, err := s.newest(r.Context())
	if err != nil {
		return err
	}
	version, _ := strconv.ParseInt(r.FormValue("version"), 10, 32) // else the newest
	body := wikiView{Name: name}
	body.Page, err = s.page(r.Context(), name, version)
	if err != nil && !errors.Is(err, tracbus.ErrNotFound) {
		return err
	}
	v := view{Title: name, Section: "wiki", At: at}
	if body.Page != nil {
		body.Form = wikiForm{Text: body.Page.Text, Base: body.Page.Newest, Readonly: body.Page.Readonly, WasReadonly: body.Page.Readonly}
	}
	switch r.FormValue("action") {
	case "edit":
		v.Body, v.Title, v.At = body, "Edit "+name, place{}
		return s.show(w, r, http.StatusOK, "editpage.html", v)
	case "history":
		if body.History, err = s.historyOf(r, tracbus.PageResource(name), markup.PageLink(name)+"?action=history&"); err != nil {
			return err
		}
		v.Body, v.Title = body, "History of "+name
		return s.show(w, r, http.StatusOK, "pagehistory.html", v)
	case "rename", "delete":
		if err := mustSignIn(r, "rename and delete pages"); err != nil {
			return err
		}
		v.Body, v.Title, v.At = body, "Rename or delete "+name, place{}
		return s.show(w, r, http.StatusOK, "movepage.html", v)
	}
	status := http.StatusOK
	if body.Page == nil {
		status = http.StatusNotFound
	}
	switch {
	case name == "InterMapTxt":
		body.Links, body.Broken = slices.Collect(s.links.All()), s.links.Err()
	case name == "BadContent":
		body.Broken = s.bad.Err()
	case body.Page != nil:
		if body.HTML, err = s.html(r.Context(), body.Page.Text); err != nil {
			return err
		}
	}
	v.Body = body
	return s.show(w, r, status, "page.html", v)
}

// changePage stores what the forms of a page send.
func (s *site) changePage(w http.ResponseWriter, r *http.Request) error {
	name := r.PathValue("name")
	if err := checkName(name); err != nil {
		return err
	}
	switch r.PostFormValue("do") {
	case "save":
		return s.savePage(w, r, name)
	case "rename":
		return s.renamePage(w, r, name)
	case "delete":
		return s.deletePage(w, r, name)
	}
	return refusal{http.StatusBadRequest, "That is no form of this page."}
}

func (s *site) savePage(w http.ResponseWriter, r *http.Request, name string) error {
	form := wikiForm{
		Text: r.PostFormValue("text"), Comment: oneLine(r.PostFormValue("comment")),
		Author: r.PostFormValue("author"), Readonly: r.PostFormValue("readonly") != "", WasReadonly: r.PostFormValue("was-readonly") != "",
	}
	form.Base, _ = strconv.ParseInt(r.PostFormValue("base"), 10, 64) // else it is a new page
	err := s.checkPage(r, name, form)
	if err == nil {
		err = s.store(r, func(tx *tracbus.ModelTransaction) error {
			return s.storePage(r, tx, name, form)
		})
	}
	if errors.Is(err, tracbus.ErrConflict) {
		return s.pageConflict(w, r, name, form)
	}
	if refused, ok := refusalOf(err); ok {
		return s.formPage(w, r, refused.status, name, form, refused.text)
	}
	if err != nil {
		return err
	}
	http.Redirect(w, r, markup.PageLink(name), http.StatusSeeOther)
	return nil
}

// storePage stores what a form changes, and refuses what the page, as it is now,
// does not allow: nobody else changes it until the transaction ends.
func (s *site) storePage(r *http.Request, tx *tracbus.ModelTransaction, name string, form wikiForm) error {
	ctx := r.Context()
	if err := tx.Lock(ctx, tracbus.PageResource(name)); err != nil {
		return err
	}
	edit := trac.PageEdit{Name: name, Text: &form.Text, Comment: form.Comment, Base: form.Base}
	if form.Base == 0 {
		edit.Base = trac.NoPage
	}
	if form.Readonly != form.WasReadonly && visitorOf(r).Name != "" {
		edit.Readonly = &form.Readonly
	}
	page, err := readPage(ctx, tx.SQL(), s.db, name, 0)
	switch {
	case errors.Is(err, tracbus.ErrNotFound) && form.Text == "" && form.Base == 0: // as in Trac
		return refusal{http.StatusUnprocessableEntity, "The text is empty: a new page has one."}
	case errors.Is(err, tracbus.ErrNotFound):
		return tx.Save(ctx, edit)
	case err != nil:
		return err
	case page.Readonly && visitorOf(r).Name == "":
		return mustSignIn(r, "change a page that is read-only")
	case lines(page.Text) != lines(form.Text): // browsers have line ends of their own
	case edit.Readonly == nil:
		return refusal{http.StatusUnprocessableEntity, "The text is as it was: there is nothing to store."}
	default:
		edit.Text = nil
	}
	return tx.Save(ctx, edit)
}

// pageConflict shows the form again, with what was sent: nothing is lost.
func (s *site) pageConflict(w http.ResponseWriter, r *http.Request, name string, form wikiForm) error {
	page, err := s.page(r.Context(), name, 0)
	switch {
	case errors.Is(err, tracbus.ErrNotFound):
		form.Base = 0
		return s.formPage(w, r, http.StatusConflict, name, form, "Somebody else deleted this page while you were writing. Send the form again to create it anew.")
	case err != nil:
		return err
	}
	form.Base = page.Newest
	return s.formPage(w, r, http.StatusConflict, name, form, fmt.Sprintf(
		"%s changed this page while you were writing: there is a version %d now. Your text is below and not stored; put theirs in, and send it again.", shownLine(page.Author), page.Newest))
}

func (s *site) formPage(w http.ResponseWriter, r *http.Request, status int, name string, form wikiForm, problem string) error {
	form.Problem = problem
	return s.show(w, r, status, "editpage.html", view{Title: "Edit " + name, Section: "wiki", Body: wikiView{Name: name, Form: form}})
}

// checkPage refuses what the page BadContent forbids, but on that page itself.
func (s *site) checkPage(r *http.Request, name string, form wikiForm) error {
	if len(form.Text) > mostText {
		return refusal{http.StatusUnprocessableEntity, fmt.Sprintf("The page is too long: expected %d KiB at most.", mostText>>10)}
	}
	if err := checkNewName(name); err != nil {
		return err
	}
	if err := checkLine("comment", form.Comment); err != nil {
		return err
	}
	if name == "BadContent" {
		return s.checkBadContent(r, form)
	}
	if name == "InterMapTxt" {
		if err := mustSignIn(r, "change where prefixes lead"); err != nil {
			return err
		}
		if err := pages.CheckInterMap(form.Text); err != nil {
			return refusal{http.StatusUnprocessableEntity, fmt.Sprintf("That cannot be used: %v. Nothing was stored.", err)}
		}
	}
	return s.checkContent(r, form.Comment, name+"\n"+form.Text)
}

// checkBadContent: what forbids all that others write is for operators, may be
// mended whatever it forbids, must not take long to look for, and must be what can
// be looked for.
func (s *site) checkBadContent(r *http.Request, form wikiForm) error {
	if err := mustOperate(r, "say what is forbidden"); err != nil {
		return err
	}
	if most := 4 << 10; len(form.Text) > most || len(form.Comment) > mostComment {
		return refusal{http.StatusUnprocessableEntity, fmt.Sprintf("The page is too long: expected %d bytes at most.", most)}
	}
	if err := pages.CheckBadContent(form.Text); err != nil {
		return refusal{http.StatusUnprocessableEntity, fmt.Sprintf("That cannot be searched for: %v. Nothing was stored.", err)}
	}
	return nil
}
