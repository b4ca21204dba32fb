package handler

import "github.com/valyala/fasthttp"

// Server lets tests shorten the server's timeouts.
func (g *Gateway) Server() *fasthttp.Server { return g.server }
