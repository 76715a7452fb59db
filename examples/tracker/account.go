package main

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/crypto/bcrypt"
)

// passwordCost is how much work a password is to whoever guesses it.
const passwordCost = bcrypt.DefaultCost

// noAccount is a hash of no password that anybody knows. It is compared when a name has
// no account: the answer takes as long, and does not tell which names have one.
const noAccount = "$2a$10$iicBBZHK3dZDfKvpOgIfMuofzNr/SheY1Be1Fre/OD7Jb3Ao/Dt/O"

// sessionAge is for how long somebody stays signed in.
const sessionAge = 30 * 24 * time.Hour

// sessionKey is what the database knows a cookie by: whoever reads the database
// cannot sign in with it.
func sessionKey(cookie string) string {
	sum := sha256.Sum256([]byte(cookie))
	return hex.EncodeToString(sum[:])
}

// signedIn returns who signed in with a cookie, in whatever process.
func (s *site) signedIn(ctx context.Context, cookie string) (name string, err error) {
	err = s.db.QueryRowContext(ctx, s.db.SQL("SELECT name FROM tracker_session WHERE visitor = ? AND expires > ?"),
		sessionKey(cookie), time.Now().UnixMicro()).Scan(&name)
	if errors.Is(err, sql.ErrNoRows) {
		return "", nil
	}
	return name, err
}

func (s *site) showAccount(w http.ResponseWriter, r *http.Request) error {
	return s.show(w, r, http.StatusOK, "account.html", accountView(accountForm{Next: r.FormValue("next")}))
}

// accountForm is what a visitor sees who is to sign in.
type accountForm struct{ Next, Name, Problem string }

func accountView(form accountForm) view {
	return view{Title: "Account", Section: "account", Body: form, Here: localPath(form.Next)}
}

// changeAccount signs in or out, or makes an account.
func (s *site) changeAccount(w http.ResponseWriter, r *http.Request) error {
	ctx, do := r.Context(), r.PostFormValue("do")
	if do == "sign out" {
		if _, err := s.db.ExecContext(ctx, s.db.SQL("DELETE FROM tracker_session WHERE visitor = ?"), sessionKey(visitorOf(r).cookie)); err != nil {
			return err
		}
		s.newVisitor(w, r)
		http.Redirect(w, r, "/", http.StatusSeeOther)
		return nil
	}
	form := accountForm{Next: r.PostFormValue("next"), Name: oneLine(r.PostFormValue("name"))}
	password := r.PostFormValue("password")
	who, err := personOf(form.Name)
	switch {
	case err != nil:
		err = refusal{http.StatusUnprocessableEntity, fmt.Sprintf("That name cannot be used: %v.", err)}
	case do == "make" && (len(password) < 8 || len(password) > 72): // before it counts
		err = refusal{http.StatusUnprocessableEntity, "That password cannot be used: expected 8 to 72 bytes."}
	case s.mustWait(w, r, who, do) > 0:
		err = refusal{http.StatusTooManyRequests, fmt.Sprintf("There were too many attempts with this name, or from where you are. Try again in %s seconds.", w.Header().Get("Retry-After"))}
	case do == "make":
		err = s.makeAccount(ctx, who, password)
	default:
		err = s.checkPassword(ctx, who.key, password)
		if err == nil {
			s.signIns.succeed(who.key, crowd(visitorOf(r).address))
		}
	}
	var refused refusal
	if errors.As(err, &refused) {
		form.Problem = refused.text
		return s.show(w, r, refused.status, "account.html", accountView(form))
	}
	if err != nil {
		return err
	}
	if err := s.signIn(w, r, who.key); err != nil {
		return err
	}
	http.Redirect(w, r, localPath(form.Next), http.StatusSeeOther)
	return nil
}

// mustWait counts an attempt to sign in or to make an account, which guesses nobody's
// password: it does not count against the name. If there were too many, it returns how long
// to wait, and says so in the answer's headers.
func (s *site) mustWait(w http.ResponseWriter, r *http.Request, who person, do string) time.Duration {
	name := who.key
	if do == "make" {
		name = ""
	}
	wait := s.signIns.begin(name, crowd(visitorOf(r).address))
	if wait > 0 {
		w.Header().Set("Retry-After", strconv.FormatInt(int64((wait+time.Second-1)/time.Second), 10))
	}
	return wait
}

// signIn ties a name to a new cookie: one that somebody else may have put into the
// browser before is worth nothing.
func (s *site) signIn(w http.ResponseWriter, r *http.Request, name string) error {
	now := time.Now()
	if _, err := s.db.ExecContext(r.Context(), s.db.SQL("DELETE FROM tracker_session WHERE expires < ?"), now.UnixMicro()); err != nil {
		return err
	}
	_, err := s.db.ExecContext(r.Context(), s.db.SQL("INSERT INTO tracker_session (visitor, name, expires) VALUES (?, ?, ?)"),
		sessionKey(s.newVisitor(w, r).cookie), name, now.Add(sessionAge).UnixMicro())
	return err
}

// makeAccount makes an account that goes by the key of a name: "Ann" and "ann" are one.
func (s *site) makeAccount(ctx context.Context, who person, password string) error {
	name := who.key
	taken := refusal{http.StatusConflict, fmt.Sprintf("The name %q is taken.", name)}
	if reserved(who) && !slices.Contains(s.operators, name) {
		return taken
	}
	if known, err := s.passwordOf(ctx, name); err != nil {
		return err
	} else if known != nil {
		return taken
	}
	var hash []byte
	err := s.signing.do(ctx, func() (err error) {
		hash, err = bcrypt.GenerateFromPassword([]byte(password), passwordCost)
		return err
	})
	if err != nil {
		return err
	}
	var last int64 // by the clock of whatever process: the first account stays the first
	if err := s.db.QueryRowContext(ctx, "SELECT COALESCE(MAX(made), 0) FROM tracker_account").Scan(&last); err != nil {
		return err
	}
	_, err = s.db.ExecContext(ctx, s.db.SQL("INSERT INTO tracker_account (name, password, made) VALUES (?, ?, ?)"), name, string(hash), max(last+1, time.Now().UnixMicro()))
	if err == nil {
		return nil
	}
	if known, failed := s.passwordOf(ctx, name); failed != nil || known == nil {
		return errors.Join(err, failed)
	}
	return taken // in this moment
}

func (s *site) checkPassword(ctx context.Context, name, password string) error {
	known, err := s.passwordOf(ctx, name)
	if err != nil {
		return err
	}
	hash := known
	if known == nil {
		hash = []byte(noAccount)
	}
	return s.signing.do(ctx, func() error {
		if s.compare(hash, []byte(password)) != nil || known == nil {
			return refusal{http.StatusForbidden, "Name and password do not belong together."}
		}
		return nil
	})
}

// passwordOf returns the hash of an account's password, nil if there is no account.
func (s *site) passwordOf(ctx context.Context, name string) (hash []byte, err error) {
	err = s.db.QueryRowContext(ctx, s.db.SQL("SELECT password FROM tracker_account WHERE name = ?"), name).Scan(&hash)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	return hash, err
}

// mustSignIn refuses what only those may do who are known.
func mustSignIn(r *http.Request, what string) error {
	if visitorOf(r).Name == "" {
		return refusal{http.StatusForbidden, "Sign in to " + what + "."}
	}
	return nil
}

// mustOperate refuses what only an operator may do.
func mustOperate(r *http.Request, what string) error {
	if err := mustSignIn(r, what); err != nil {
		return err
	}
	if !visitorOf(r).Operator {
		return refusal{http.StatusForbidden, "Only an operator may " + what + "."}
	}
	return nil
}

// operates says whether an account is an operator's.
func (s *site) operates(ctx context.Context, name string) (bool, error) {
	if len(s.operators) > 0 {
		return slices.Contains(s.operators, name), nil
	}
	var first string
	err := s.db.QueryRowContext(ctx, "SELECT name FROM tracker_account ORDER BY made, name LIMIT 1").Scan(&first)
	if errors.Is(err, sql.ErrNoRows) { // somebody is signed in whose account was taken away
		return false, nil
	}
	return first == name, err
}

// localPath returns a path of this site, whatever was asked for.
func localPath(next string) string {
	if !strings.HasPrefix(next, "/") || strings.HasPrefix(next, "//") || strings.ContainsAny(next, "\\\r\n\t") {
		return "/"
	}
	return next
}
