package handler

import "github.com/valyala/fasthttp"

// Server is for the tests, which shorten its times.
func (g *Gateway) Server() *fasthttp.Server { return g.server }
