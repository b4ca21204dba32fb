package handler

import (
	"bytes"

	"github.com/valyala/fasthttp"
)

// framingProblem tells of headers that a proxy before us may read otherwise than we do, so that one request could hide
// in another, or a header pass that the proxy takes away: what RFC 9112 forbids (5.1, 5.2, 6.1) or leaves to us (2.2,
// 6.3, 7.1.2) and fasthttp takes. Where the request ends is not certain then, and nothing behind it must be read: it is
// the last on its connection. So is one whose body came in chunks, since fasthttp does not show what followed them.
func framingProblem(header *fasthttp.RequestHeader) (problem string, last bool) {
	if len(header.PeekTrailerKeys()) > 0 { // fasthttp finds them where it is asked for a header
		return detailTrailers, true
	}
	var measured, chunked bool
	for line := range bytes.Lines(header.RawHeaders()) { // fasthttp hides the encodings that it ignores
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
