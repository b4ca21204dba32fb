package handler

import (
	"bytes"

	"github.com/valyala/fasthttp"
)

// framingProblem returns a sentence if a proxy before us might read the headers differently: then a request could be
// hidden in another one, or a header could pass that the proxy removes. It refuses what fasthttp accepts although RFC
// 9112 forbids it (5.1, 5.2, 6.1) or leaves it to the server (2.2, 6.3, 7.1.2).
//
// last says that this must be the last request on its connection, because it is not certain where the request ends.
// That is so after each problem, and for a body in chunks, since fasthttp does not show what follows the chunks.
func framingProblem(header *fasthttp.RequestHeader) (problem string, last bool) {
	if len(header.PeekTrailerKeys()) > 0 { // PeekTrailerKeys itself may parse them
		return detailTrailers, true
	}
	var measured, chunked bool
	for line := range bytes.Lines(header.RawHeaders()) { // the raw ones: fasthttp hides encodings that it ignores
		name, value, _ := bytes.Cut(line, []byte{':'})
		switch {
		case line[0] == ' ' || line[0] == '\t':
			return "A folded header is not read: send each on one line", true
		case len(line) == 1 || line[len(line)-2] != '\r':
			return "A header that ends in a line feed alone is not read", true
		case bytes.IndexByte(name, ' ') >= 0:
			return "A header with a space in its name is not read", true
		case len(name) == len(contentLength) && bytes.EqualFold(name, contentLength):
			measured = true
		case len(name) == len(transferEncoding) && bytes.EqualFold(name, transferEncoding):
			if !bytes.EqualFold(bytes.TrimSpace(value), []byte("chunked")) {
				return "A Transfer-Encoding other than chunked is not read", true
			}
			chunked = true
		}
	}
	if measured && chunked {
		return "A body with both Content-Length and Transfer-Encoding is not read: send one of them", true
	}
	return "", chunked
}

const detailTrailers = "Trailers are not read: send all headers before the body"

var (
	contentLength    = []byte(fasthttp.HeaderContentLength)
	transferEncoding = []byte(fasthttp.HeaderTransferEncoding)
)
