// Package embed has small applications that keep tickets in a table of their own, each with another
// library for SQL, and what tracbus adds to them: the lines that are marked. Their tests count those
// lines, run the applications without them, and kill applications while they write. See
// docs/embedding.md.
package embed
