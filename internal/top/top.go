// Package top shows the dashboard in a terminal: what arrives, what is executed, what is hot, and the state of the
// replicas. It asks a gateway's admin listener, as the page does.
package top

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"time"

	tea "charm.land/bubbletea/v2"

	"github.com/oncegate/oncegate/internal/dashboard"
)

// Options say what is shown, and which gateway is asked.
type Options struct {
	URL    string // of the admin listener; "": the one that listens on this machine at Listen
	Listen string
	Tenant string // the tenant whose webhooks are shown; "": all webhooks
	Token  string // ADMIN_TOKEN; "": none
	Once   bool   // one frame, for scripts
	In     io.Reader
	Out    io.Writer
}

const (
	every    = time.Second
	patience = 5 * time.Second
	maxState = 4 << 20

	onceWidth, onceHeight = 100, 40 // of a frame for scripts
)

// Run shows the dashboard until a person ends it or ctx does.
func Run(ctx context.Context, o Options) error {
	if o.URL == "" {
		_, port, err := net.SplitHostPort(o.Listen)
		if err != nil || port == "0" {
			return fmt.Errorf("top: ADMIN_LISTEN is %q: name the URL of an admin listener", o.Listen)
		}
		o.URL = "http://" + net.JoinHostPort("localhost", port)
	}
	at, err := url.Parse(o.URL)
	if err != nil || at.Scheme != "http" && at.Scheme != "https" || at.Host == "" {
		return fmt.Errorf("top: the URL is %q, and must be that of an admin listener, such as http://127.0.0.1:8001", o.URL)
	}
	at.Path = "/state"
	if o.Tenant != "" {
		at.RawQuery = url.Values{"tenant": {o.Tenant}}.Encode()
	}
	ask := func() (dashboard.State, error) { return get(ctx, at.String(), o.Token, o.Tenant) }
	first, err := ask()
	if err != nil {
		return err // printed at once, and not inside a screen
	}
	if o.Once {
		_, err := fmt.Fprintln(o.Out, frame(&first, nil, onceWidth, onceHeight, plain))
		return err
	}
	program := tea.NewProgram(&screen{ask: ask, state: first}, tea.WithContext(ctx), tea.WithInput(o.In),
		tea.WithOutput(o.Out))
	if _, err := program.Run(); err != nil && ctx.Err() == nil {
		return fmt.Errorf("top: %w", err)
	}
	return nil
}

// get asks for the state.
func get(ctx context.Context, at, token, tenant string) (s dashboard.State, err error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, at, nil)
	if err != nil {
		return s, fmt.Errorf("top: %w", err)
	}
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	client := http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	reply, err := client.Do(r)
	if err != nil {
		if failed, ok := errors.AsType[*url.Error](err); ok {
			err = failed.Err // failed names the address, too
		}
		return s, fmt.Errorf("no gateway shows itself there: %w", err)
	}
	defer func() { _ = reply.Body.Close() }()
	switch {
	case reply.StatusCode == http.StatusUnauthorized:
		return s, errors.New("the gateway wants another ADMIN_TOKEN")
	case reply.StatusCode == http.StatusNotFound && tenant != "":
		return s, fmt.Errorf("the gateway has no tenant %q, or %s is no admin listener", tenant, at)
	case reply.StatusCode != http.StatusOK:
		return s, fmt.Errorf("%s answered %s", at, reply.Status)
	}
	if err := json.NewDecoder(io.LimitReader(reply.Body, maxState)).Decode(&s); err != nil {
		return s, fmt.Errorf("%s is no admin listener of oncegate: %w", at, err)
	}
	return s, nil
}

// screen is the program's state.
type screen struct {
	ask           func() (dashboard.State, error)
	state         dashboard.State
	err           error
	paused        bool
	width, height int
}

// answer is the outcome of one request for the state.
type answer struct {
	state dashboard.State
	err   error
}

func (s *screen) look() tea.Cmd {
	return tea.Tick(every, func(time.Time) tea.Msg {
		state, err := s.ask()
		return answer{state, err}
	})
}

// Init is part of tea.Model.
func (s *screen) Init() tea.Cmd { return s.look() }

// Update is part of tea.Model.
func (s *screen) Update(m tea.Msg) (tea.Model, tea.Cmd) {
	switch m := m.(type) {
	case tea.WindowSizeMsg:
		s.width, s.height = m.Width, m.Height
	case tea.KeyPressMsg:
		switch m.String() {
		case "q", "esc", "ctrl+c":
			return s, tea.Quit
		case "space", "p":
			s.paused = !s.paused
		}
	case answer:
		if s.err = m.err; s.err == nil && !s.paused {
			s.state = m.state
		}
		return s, s.look()
	}
	return s, nil
}

// View is part of tea.Model.
func (s *screen) View() tea.View {
	text := frame(&s.state, s.err, s.width, s.height-1, coloured) + "\n q quit   p pause"
	if s.paused {
		text += "   (paused)"
	}
	view := tea.NewView(text)
	view.AltScreen = true
	return view
}
