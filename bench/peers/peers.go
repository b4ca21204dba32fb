// Package peers has what the contenders are that are not written in Go; those that are stand beside it, a program each.
package peers

import _ "embed" // the files below

// NginxConfig is a template of nginx' configuration.
//
//go:embed nginx/nginx.conf
var NginxConfig string

// NginxGate is what nginx runs for a webhook.
//
//go:embed nginx/gate.lua
var NginxGate []byte

// PythonApp is the application that uvicorn runs.
//
//go:embed python/app.py
var PythonApp []byte
