// Package peers holds the files of the contenders that are not written in Go. Each contender in Go is a program beside
// it.
package peers

import _ "embed" // the files below

// NginxConfig is a template of nginx' configuration.
//
//go:embed nginx/nginx.conf
var NginxConfig string

// NginxGate is the script that nginx runs for each webhook.
//
//go:embed nginx/gate.lua
var NginxGate []byte

// PythonApp is the application that uvicorn runs.
//
//go:embed python/app.py
var PythonApp []byte
