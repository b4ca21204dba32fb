package proc

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"syscall"
)

// Memory returns the resident memory of the process and its descendants, in bytes. It reads /proc, so it works on Linux
// only.
func (p *Process) Memory() (int64, error) {
	family, err := p.Family()
	var sum int64
	for _, pid := range family {
		fields, err := fieldsOf(pid, "statm") // numbers of pages: all, resident, …
		if err != nil {
			return 0, err
		}
		pages, err := strconv.ParseInt(fields[1], 10, 64)
		if err != nil {
			return 0, fmt.Errorf("/proc/%d/statm: %w", pid, err)
		}
		sum += pages * int64(os.Getpagesize())
	}
	return sum, err
}

// Family returns the process ids of the process and its descendants, its own first. It reads /proc.
func (p *Process) Family() ([]int, error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, err
	}
	children := map[int][]int{}
	for _, entry := range entries {
		pid, err := strconv.Atoi(entry.Name())
		if err != nil {
			continue
		}
		fields, err := fieldsOf(pid, "stat") // after the name: state, parent, …
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ESRCH) {
			continue // it has ended meanwhile
		}
		if err != nil {
			return nil, err
		}
		parent, err := strconv.Atoi(fields[1])
		if err != nil {
			return nil, fmt.Errorf("/proc/%d/stat: %w", pid, err)
		}
		children[parent] = append(children[parent], pid)
	}
	family := []int{p.Pid()}
	for i := 0; i < len(family); i++ {
		family = append(family, children[family[i]]...)
	}
	return family, nil
}

// fieldsOf returns the fields of a file of /proc/PID, without the pid and the name in brackets that the file may begin
// with: the name may contain spaces and brackets.
func fieldsOf(pid int, file string) ([]string, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", pid, file))
	if err != nil {
		return nil, err
	}
	fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
	if len(fields) < 2 {
		return nil, fmt.Errorf("/proc/%d/%s: %q", pid, file, text)
	}
	return fields, nil
}
