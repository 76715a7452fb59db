module github.com/tracbus/tracbus

go 1.26
