package command

import (
	"bufio"
	"context"
	"io"
	"strings"
)

// confirmed asks a question and reports whether the answer, one line, is yes. It gives up when ctx ends.
func confirmed(ctx context.Context, question string, in io.Reader, out io.Writer) bool {
	_, _ = io.WriteString(out, question)
	answer := make(chan string, 1)
	go func() { // a read cannot be cancelled, so this ends with the line or with the process
		line, _ := bufio.NewReader(io.LimitReader(in, 100)).ReadString('\n')
		answer <- line
	}()
	select {
	case line := <-answer:
		if !strings.HasSuffix(line, "\n") {
			_, _ = io.WriteString(out, "\n")
		}
		line = strings.ToLower(strings.TrimSpace(line))
		return line == "y" || line == "yes"
	case <-ctx.Done():
		_, _ = io.WriteString(out, "\n")
		return false
	}
}
