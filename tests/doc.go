// Package tests has a folder for each thing that is tested with a database driver,
// a mail server or another module that the library itself does not need.
package tests
