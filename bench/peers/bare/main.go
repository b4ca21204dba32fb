// Bare answers every webhook with the same bytes and does nothing else. It shows what HTTP alone costs on this machine.
package main

import (
	"log"
	"os"

	"github.com/valyala/fasthttp"
)

func main() {
	answer := []byte(os.Getenv("ANSWER"))
	server := fasthttp.Server{
		NoDefaultServerHeader: true,
		ReadBufferSize:        16 << 10, // as in Oncegate
		Handler: func(ctx *fasthttp.RequestCtx) {
			ctx.SetContentType("application/json")
			ctx.SetBody(answer)
		},
	}
	log.Fatal(server.ListenAndServe(os.Getenv("LISTEN")))
}
