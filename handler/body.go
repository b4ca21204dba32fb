package handler

import (
	"errors"
	"io"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/valyala/fasthttp"
)

// bodies reads the bodies of requests, under one bound for the memory of all that are under way. fasthttp would take as
// much memory as a request announces before anybody looks at its key; so it reads 8 KiB ahead and no more
// (StreamRequestBody). What follows is read here, of who has been let in, and memory grows with what has come.
type bodies struct {
	most  int          // bytes of one body
	room  int64        // bytes of all, but for the free ones of each; 0: no bound
	taken atomic.Int64 // of the room
	pool  sync.Pool
}

// body is the body of one request, until it is released.
type body struct {
	text  []byte
	taken int64
	late  bool // some of it may have come after the handler was called
}

// freeBytes of each body take no room: as much is read ahead on each connection, and connections have a bound of their
// own.
const freeBytes = 8 << 10

// errNoRoom says that all bodies under way take as much memory as they may.
var errNoRoom = errors.New("no room for another body")

// read reads a request's body to its end. Its errors are those of the connection, io.ErrUnexpectedEOF,
// fasthttp.ErrBodyTooLarge and errNoRoom: after each of them the connection must be closed.
func (b *bodies) read(ctx *fasthttp.RequestCtx) (*body, error) {
	read, _ := b.pool.Get().(*body)
	if read == nil {
		read = new(body)
	}
	read.text, read.late = read.text[:0], false
	stream := ctx.RequestBodyStream()
	if stream == nil { // no body, or one that is there
		read.text = append(read.text, ctx.PostBody()...)
		return read, nil
	}
	if err := b.fill(read, stream, ctx.Request.Header.ContentLength()); err != nil {
		b.release(read)
		return nil, err
	}
	return read, nil
}

// fill reads a body that announces its length, or -1 for chunks.
func (b *bodies) fill(read *body, stream io.Reader, announced int) error {
	limit := announced
	if announced < 0 {
		limit = b.most + 1 // whose last byte is one too many
	}
	read.late = announced < 0 || announced > freeBytes
	if announced > b.most {
		return fasthttp.ErrBodyTooLarge
	}
	for {
		switch n := len(read.text); {
		case n > b.most:
			return fasthttp.ErrBodyTooLarge
		case n == announced:
			return nil
		case n == cap(read.text):
			if err := b.grow(read, limit); err != nil {
				return err
			}
		}
		n, err := stream.Read(read.text[len(read.text):min(cap(read.text), limit)])
		read.text = read.text[:len(read.text)+n]
		switch {
		case err == nil:
		case err == io.EOF && (announced < 0 && len(read.text) <= b.most || announced == len(read.text)):
			return nil
		case err == io.EOF:
			return io.ErrUnexpectedEOF
		default:
			return err
		}
	}
}

// grow doubles a body's memory, up to the limit.
func (b *bodies) grow(read *body, limit int) error {
	size := min(max(2*cap(read.text), 2<<10), limit)
	more := max(int64(size)-freeBytes, 0) - read.taken
	if more > 0 {
		if b.taken.Add(more) > b.room && b.room > 0 {
			b.taken.Add(-more)
			return errNoRoom
		}
		read.taken += more
	}
	read.text = slices.Grow(read.text, size-len(read.text))
	return nil
}

// release gives back what a body took. Its text must not be used any more.
func (b *bodies) release(read *body) {
	if read.taken > 0 {
		b.taken.Add(-read.taken)
		read.taken = 0
	}
	if cap(read.text) > keptBodyBytes {
		read.text = nil
	}
	b.pool.Put(read)
}
