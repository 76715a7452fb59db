package main

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"mime"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

const (
	cookieName   = "tracker"
	mostForm     = 1 << 20          // bytes
	requestLimit = 20 * time.Second // for all that a request asks of the database
)

// visitor is who sends a request: a browser that is known by a random cookie, and
// whoever signed in with it.
type visitor struct {
	cookie   string
	Name     string // empty: nobody signed in
	Operator bool
	address  netip.Addr // that they come from
}

// token goes into every form of the visitor's pages. Other sites cannot make it,
// for they do not see the cookie.
func (v visitor) token() string {
	mac := hmac.New(sha256.New, []byte(v.cookie))
	mac.Write([]byte("form"))
	return base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}

type visitorKey struct{}

func visitorOf(r *http.Request) visitor {
	v, _ := r.Context().Value(visitorKey{}).(visitor)
	return v
}

// guard lets only those requests through that a page of this site can have made,
// with texts that are texts, and says who the visitor is.
func (s *site) guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), requestLimit)
		defer cancel()
		r = r.WithContext(ctx)
		v, err := s.recognise(w, r)
		v.address = s.addressOf(r)
		r = r.WithContext(context.WithValue(ctx, visitorKey{}, v))
		if err == nil {
			err = checkForm(r, v)
		}
		if err != nil {
			s.fail(w, r, err)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// recognise reads the cookie, or gives one to a new visitor.
func (s *site) recognise(w http.ResponseWriter, r *http.Request) (visitor, error) {
	cookie, err := r.Cookie(cookieName)
	if err != nil || len(cookie.Value) < 20 {
		return s.newVisitor(w, r), nil
	}
	v := visitor{cookie: cookie.Value}
	v.Name, err = s.signedIn(r.Context(), v.cookie)
	if err == nil && v.Name != "" {
		v.Operator, err = s.operates(r.Context(), v.Name)
	}
	return v, err
}

func (s *site) newVisitor(w http.ResponseWriter, r *http.Request) visitor {
	v := visitor{cookie: rand.Text()}
	http.SetCookie(w, &http.Cookie{
		Name: cookieName, Value: v.cookie, Path: "/", MaxAge: int(sessionAge.Seconds()),
		HttpOnly: true, SameSite: http.SameSiteLaxMode,
		Secure: s.encrypted(r),
	})
	return v
}

// checkForm refuses a form that does not come from a page of this site, and what
// no database would take for text.
func checkForm(r *http.Request, v visitor) error {
	safe := r.Method == http.MethodGet || r.Method == http.MethodHead
	if kind, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type")); !safe && kind != "application/x-www-form-urlencoded" {
		return refusal{http.StatusUnsupportedMediaType, "That is no form of this site: expected application/x-www-form-urlencoded."}
	}
	if err := r.ParseForm(); errors.As(err, new(*http.MaxBytesError)) {
		return err
	} else if err != nil {
		return refusal{http.StatusBadRequest, "That form cannot be read."}
	}
	for name, values := range r.Form {
		for _, value := range values {
			if !utf8.ValidString(value) || strings.ContainsRune(value, 0) {
				return refusal{http.StatusBadRequest, fmt.Sprintf("The field %q is no text: expected UTF-8 without zero bytes.", name)}
			}
		}
	}
	if p := r.URL.Path; !utf8.ValidString(p) || strings.ContainsRune(p, 0) {
		return refusal{http.StatusBadRequest, "The address is no text: expected UTF-8 without zero bytes."}
	}
	if !safe && !hmac.Equal([]byte(r.PostFormValue("token")), []byte(v.token())) {
		return refusal{http.StatusForbidden, "This form is not from a page that you have open, or is too old. Go back, load the page anew, and send it again. Nothing was stored."}
	}
	return nil
}

// forHost refuses requests for a host of another name: a site whose name leads to
// this address all at once could else read and send what this one may.
func (s *site) forHost(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host := r.Host
		if name, _, err := net.SplitHostPort(host); err == nil {
			host = name
		}
		if host != "localhost" && net.ParseIP(strings.Trim(host, "[]")) == nil && !slices.ContainsFunc(s.hosts, func(name string) bool { return strings.EqualFold(name, host) }) {
			http.Error(w, fmt.Sprintf("This tracker is not called %q: expected localhost, an IP address, or what its flag -host names.", host), http.StatusMisdirectedRequest)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// withLimit lets no route read more of a request than a form may have.
func withLimit(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.Body = http.MaxBytesReader(w, r.Body, mostForm)
		next.ServeHTTP(w, r)
	})
}

// withHeaders tells browsers to run and load nothing but this site's own files.
func withHeaders(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "same-origin")
		h.Set("Cache-Control", "no-store")
		if strings.HasPrefix(r.URL.Path, "/static/") {
			h.Set("Cache-Control", "max-age=300")
		}
		next.ServeHTTP(w, r)
	})
}
