package gate

import (
	"bytes"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	lua "github.com/yuin/gopher-lua"
	"github.com/yuin/gopher-lua/parse"

	"github.com/oncegate/oncegate/internal/record"
)

// dataset is the content of a Redis about one fingerprint, and which server it is.
//
// Time advances only at losses: it is proofTime plus a millisecond for each, so that each history is met at another
// time. A deadline either runs or is over, and is written down as one of two texts (tidy): the end of a lease or of
// settling is an event of its own.
type dataset struct {
	record string // "": none
	noted  noted  // in the metrics hash
	server string // its master_replid: replicationID
	losses int
}

// noted is what the script has noted of a history. settled is "" once nothing about settling is left in it.
type noted struct{ history, met, settled string }

// text returns the field of the metrics hash, "" if there is none.
func (n noted) text() string {
	text := strings.TrimSpace(n.history + " " + n.met)
	if n.settled != "" {
		text += " " + n.settled + " " + unixMillis(time.UnixMilli(0).Add(proofSettle))
	}
	return text
}

func readNoted(text string) (n noted) {
	words := append(strings.Fields(text), "")
	return noted{words[0], words[1], words[2]}
}

func replicationID(n int) string { return fmt.Sprintf("%040d", n) }

const (
	proofLease  = time.Minute
	proofSettle = 3 * time.Second
	proofTTL    = time.Hour
)

var proofTime = time.UnixMilli(1_800_000_000_000)

func (d *dataset) now() time.Time { return proofTime.Add(time.Duration(d.losses) * time.Millisecond) }

func unixMillis(t time.Time) string { return strconv.FormatInt(t.UnixMilli(), 10) }

// over and runs are the two texts of the end of settling.
var over, runs = unixMillis(proofTime), unixMillis(proofTime.Add(proofSettle))

// tidyRecord writes the times of a record as one of two texts.
func tidyRecord(r record.Record, now time.Time) string {
	if r.State == record.InProgress {
		if r.Deadline.After(now) {
			r.Deadline = proofTime.Add(proofLease)
		} else {
			r.Deadline = proofTime
		}
	}
	r.Started, r.Stored, r.FailedAt, r.Ends = proofTime, proofTime, proofTime, proofTime.Add(proofTTL)
	r.Past = "" // it decides nothing
	return string(record.Append(nil, r))
}

func (d *dataset) tidy() {
	if d.record != "" {
		r, err := record.Parse([]byte(d.record))
		if err != nil {
			panic(fmt.Sprintf("the script wrote %q: %v", d.record, err))
		}
		d.record = tidyRecord(r, d.now())
	}
	switch {
	case d.noted.settled == "":
	case d.noted.settled > unixMillis(d.now()): // as many digits
		d.noted.settled = runs
	default:
		d.noted.settled = over
	}
}

// interpreter runs the true script, or a mutant of it, on a dataset.
type interpreter struct {
	state   *lua.LState
	script  *lua.LFunction
	data    dataset
	settles bool // the call has moved the end of settling
}

// newInterpreter compiles scripts/idempotency.lua, with the first text of each pair replaced by the second, as one
// mutant.
func newInterpreter(t testing.TB, pairs ...string) *interpreter {
	t.Helper()
	source, err := os.ReadFile("../../scripts/idempotency.lua")
	if err != nil {
		t.Fatal(err)
	}
	text := string(source)
	for pair := range slices.Chunk(pairs, 2) {
		if n := strings.Count(text, pair[0]); n != 1 {
			t.Fatalf("the script has %q %d times, not once: bring the mutant up to date", pair[0], n)
		}
		text = strings.Replace(text, pair[0], pair[1], 1)
	}
	chunk, err := parse.Parse(strings.NewReader(text), "idempotency.lua")
	if err != nil {
		t.Fatal(err)
	}
	proto, err := lua.Compile(chunk, "idempotency.lua")
	if err != nil {
		t.Fatal(err)
	}
	in := &interpreter{state: lua.NewState()}
	t.Cleanup(in.state.Close)
	in.script = in.state.NewFunctionFromProto(proto)
	command := in.state.NewFunction(in.command)
	redis := in.state.NewTable()
	redis.RawSetString("call", command)
	redis.RawSetString("pcall", command)
	in.state.SetGlobal("redis", redis)
	return in
}

// run makes a call and returns the reply as Redis would send it.
func (in *interpreter) run(d dataset, c call) (after dataset, reply string, settles bool) {
	in.data, in.settles = d, false
	in.state.SetGlobal("KEYS", in.list(c.keys()))
	in.state.SetGlobal("ARGV", in.list(c.args()))
	in.state.Push(in.script)
	if err := in.state.PCall(0, 1, nil); err != nil {
		panic(fmt.Sprintf("the script on %q: %v", c, err))
	}
	var text bytes.Buffer
	encode(&text, in.state.Get(-1))
	in.state.Pop(1)
	in.data.tidy()
	return in.data, text.String(), in.settles
}

func (in *interpreter) list(texts []string) *lua.LTable {
	table := in.state.NewTable()
	for _, text := range texts {
		table.Append(lua.LString(text))
	}
	return table
}

// command is redis.call and redis.pcall, for the commands that the script uses.
func (in *interpreter) command(l *lua.LState) int {
	arg := func(i int) string { return l.CheckString(i) }
	d := &in.data
	switch name := arg(1); name {
	case "TIME":
		now := d.now()
		l.Push(in.list([]string{strconv.FormatInt(now.Unix(), 10), strconv.Itoa(now.Nanosecond() / 1000)}))
	case "INFO":
		l.Push(lua.LString("# Replication\r\nrole:master\r\nmaster_replid:" + d.server + "\r\n"))
	case "GET":
		l.Push(orFalse(d.record))
	case "SET": // key, value, PX, ttl, perhaps NX
		if l.GetTop() > 5 && arg(6) == "NX" && d.record != "" {
			l.Push(lua.LFalse)
			return 1
		}
		d.record = arg(3)
		ok := in.state.NewTable()
		ok.RawSetString("ok", lua.LString("OK"))
		l.Push(ok)
	case "PEXPIRE": // a verdict that is met again lives on
		l.Push(lua.LNumber(1))
	case "HGET": // the history
		l.Push(orFalse(d.noted.text()))
	case "HSET":
		d.noted = readNoted(arg(4))
		in.settles = in.settles || d.noted.settled != ""
		l.Push(lua.LNumber(1))
	case "HINCRBY": // counters decide nothing
		l.Push(lua.LNumber(1))
	default:
		panic("the script uses a command that the proof does not know: " + name)
	}
	return 1
}

// orFalse is how a script sees a value that may be missing.
func orFalse(value string) lua.LValue {
	if value == "" {
		return lua.LFalse
	}
	return lua.LString(value)
}

// encode writes the script's reply in RESP.
func encode(to *bytes.Buffer, value lua.LValue) {
	switch v := value.(type) {
	case lua.LNumber:
		fmt.Fprintf(to, ":%d\r\n", int64(v))
	case lua.LString:
		fmt.Fprintf(to, "$%d\r\n%s\r\n", len(v), string(v))
	case *lua.LTable:
		fmt.Fprintf(to, "*%d\r\n", v.Len())
		for i := 1; i <= v.Len(); i++ {
			encode(to, v.RawGetInt(i))
		}
	default:
		panic(fmt.Sprintf("the script returned a %s", value.Type()))
	}
}
