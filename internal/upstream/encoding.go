package upstream

import (
	"bytes"
	"compress/flate"
	"compress/gzip"
	"compress/zlib"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
)

// maxEncodings bounds how many encodings one body may have on top of each other.
const maxEncodings = 4

// decode undoes the encodings that an answer declares in Content-Encoding, the last one first (RFC 9110, section 8.4).
// Some backends encode although the request asks for identity. The output of each step is bounded by MaxResultBytes.
func (u *Upstream) decode(header http.Header, body []byte) ([]byte, error) {
	names := encodings(header)
	if len(names) > maxEncodings {
		return nil, undecodable("%d encodings, one around the other", len(names))
	}
	for _, name := range slices.Backward(names) {
		if len(body) == 0 {
			return body, nil // some servers declare an encoding for an empty body
		}
		reader, err := decoder(name, body)
		if err != nil {
			return nil, err
		}
		body, err = io.ReadAll(io.LimitReader(reader, int64(u.MaxResultBytes)+1))
		switch {
		case len(body) > u.MaxResultBytes:
			return nil, u.tooLarge()
		case err != nil:
			return nil, undecodable("it is cut off, or not encoded by %s as it declares", name)
		}
	}
	return body, nil
}

// encodings returns the declared encodings in the order in which they were applied. It leaves out names that some
// servers send for a body without an encoding.
func encodings(header http.Header) (names []string) {
	for _, value := range header.Values("Content-Encoding") {
		for name := range strings.SplitSeq(value, ",") {
			switch name = strings.ToLower(strings.TrimSpace(name)); name {
			case "", "identity", "none", "utf-8":
			case "x-gzip": // RFC 9110, section 8.4.1.3
				names = append(names, "gzip")
			default:
				names = append(names, name)
			}
		}
	}
	return names
}

// decoder returns a reader that undoes one encoding of body.
func decoder(name string, body []byte) (io.Reader, error) {
	in := bytes.NewReader(body)
	switch name {
	case "gzip":
		r, err := gzip.NewReader(in)
		if err != nil {
			return nil, undecodable("it is not encoded by gzip as it declares")
		}
		return r, nil
	case "deflate":
		if r, err := zlib.NewReader(in); err == nil {
			return r, nil
		}
		return flate.NewReader(bytes.NewReader(body)), nil // some servers omit the zlib format (RFC 9110, section 8.4.1.2)
	case "br", "zstd", "compress", "x-compress", "dcb", "dcz":
		return nil, undecodable("it is encoded by %s, although the request accepts no encoding; "+
			"only gzip and deflate are known", name)
	default: // the error does not name it: it is a value of a header
		return nil, undecodable("it has an encoding that is not known, although the request accepts none")
	}
}

func undecodable(format string, args ...any) error {
	return fmt.Errorf("it can't be decoded: %s", fmt.Sprintf(format, args...))
}
