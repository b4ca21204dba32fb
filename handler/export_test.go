package handler

// Server lets tests shorten the server's timeouts.
func (g *Gateway) Server() *Server { return g.server }
