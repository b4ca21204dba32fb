package handler

import (
	"errors"
	"io"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/valyala/fasthttp"
)

// bodies reads the bodies of requests, and bounds the memory of all bodies that are under way.
//
// Left alone, fasthttp would allocate as much memory as a request announces, before its key has been checked. So the
// server lets it read only 8 KiB ahead (StreamRequestBody). The rest is read here, after the key was checked, and
// memory grows with the bytes that have come.
type bodies struct {
	room  int64        // bytes of all bodies together, without the free ones of each; 0: no bound
	taken atomic.Int64 // bytes of the room in use
	pool  sync.Pool
}

// body is the body of one request, until it is released.
type body struct {
	text  []byte
	taken int64 // bytes of the room
	late  bool  // a part may have come after the handler was called
}

// freeBytes is how much of each body takes no room: fasthttp reads that much ahead on each connection, and connections
// have a bound of their own.
const freeBytes = 8 << 10

// errNoRoom says that the bodies under way have used up the room.
var errNoRoom = errors.New("no room for another body")

// read reads a request's body, of at most so many bytes, to its end. Its errors are those of the connection,
// io.ErrUnexpectedEOF, fasthttp.ErrBodyTooLarge and errNoRoom; after any of them the connection must be closed.
func (b *bodies) read(ctx *fasthttp.RequestCtx, most int) (*body, error) {
	read, _ := b.pool.Get().(*body)
	if read == nil {
		read = new(body)
	}
	read.text, read.late = read.text[:0], false
	stream := ctx.RequestBodyStream()
	if stream == nil { // there is no body, or all of it has been read
		read.text = append(read.text, ctx.PostBody()...)
		return read, nil
	}
	if err := b.fill(read, stream, ctx.Request.Header.ContentLength(), most); err != nil {
		b.release(read)
		return nil, err
	}
	return read, nil
}

// fill reads a body of the announced length; -1 means that it comes in chunks.
func (b *bodies) fill(read *body, stream io.Reader, announced, most int) error {
	limit := announced
	if announced < 0 {
		limit = most + 1 // one more than allowed shows that the body is too large
	}
	read.late = announced < 0 || announced > freeBytes
	if announced > most {
		return fasthttp.ErrBodyTooLarge
	}
	for {
		switch n := len(read.text); {
		case n > most:
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
		case err == io.EOF && (announced < 0 && len(read.text) <= most || announced == len(read.text)):
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

// release returns the body's room and memory. Its text must not be used afterwards.
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
