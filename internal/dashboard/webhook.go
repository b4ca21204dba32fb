package dashboard

import (
	"context"
	_ "embed"
	"errors"
	"html/template"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/oncegate/oncegate/internal/command"
	"github.com/oncegate/oncegate/internal/fingerprint"
	"github.com/oncegate/oncegate/internal/trail"
)

//go:embed webhook.html
var webhookText string

// webhookPage is the page of one webhook. It works without a script.
var webhookPage = template.Must(template.New("webhook").Parse(webhookText))

// shown is the content of that page.
type shown struct {
	Fingerprint string
	Tenant      string // "": there are no tenants, or its tenant is not known
	Lines       []command.Line
	Problem     string // shown instead of the lines, or of what a person wanted to do
	Done        string // what was done
	Running     bool   // it was not forgotten because it runs
	Steps       []step // from the trail, the oldest first
	Found       []story
	Conclusion  []string // sentences
}

// find leads to the page of a webhook. A person typed its fingerprint, or something that the trail knows it by.
func (d *Dashboard) find(w http.ResponseWriter, r *http.Request) {
	text := strings.TrimSpace(r.FormValue("fingerprint"))
	f, err := fingerprint.Parse(text)
	switch {
	case err != nil && d.keepsTrail() && text != "":
		d.search(w, r, text)
		return
	case err != nil:
		w.WriteHeader(http.StatusBadRequest)
		d.render(w, shown{Problem: "A fingerprint is 64 hex digits, with or without cognigy:fp: before them."})
		return
	}
	tenant := r.FormValue("tenant")
	if tenant == "" {
		tenant = d.owner(r.Context(), f)
	}
	http.Redirect(w, r, pageOf(f, tenant), http.StatusSeeOther)
}

// pageOf returns the path of the page of a tenant's webhook.
func pageOf(f fingerprint.Fingerprint, tenant string) string {
	path := "/webhook/" + f.Hex()
	if tenant != "" {
		path += "?tenant=" + url.QueryEscape(tenant)
	}
	return path
}

// owner returns the tenant that has a record of a webhook; "" if none has.
func (d *Dashboard) owner(ctx context.Context, f fingerprint.Fingerprint) string {
	ctx, cancel := context.WithTimeout(ctx, d.Timeout)
	defer cancel()
	names := d.Tenants()
	if i := command.OwnerOf(ctx, d.Store, f, names); i >= 0 {
		return names[i]
	}
	return ""
}

// named returns the webhook that a path names, with access to its tenant's records.
func (d *Dashboard) named(
	w http.ResponseWriter, r *http.Request,
) (f fingerprint.Fingerprint, of command.Deployment, ok bool) {
	f, err := fingerprint.Parse(r.PathValue("fingerprint"))
	of, ok = d.Records(r.FormValue("tenant"))
	if ok = ok && err == nil; !ok {
		http.NotFound(w, r)
	}
	return f, of, ok
}

func (d *Dashboard) webhook(w http.ResponseWriter, r *http.Request) {
	if f, of, ok := d.named(w, r); ok {
		d.show(r.Context(), w, f, of, shown{})
	}
}

// forget has a webhook forgotten. The page has asked the person before.
func (d *Dashboard) forget(w http.ResponseWriter, r *http.Request) {
	f, of, ok := d.named(w, r)
	if !ok {
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), 2*d.Timeout)
	defer cancel()
	err := of.Forget(ctx, command.Webhook{Fingerprint: &f}, r.FormValue("force") == "yes", io.Discard)
	log := d.Log.With("fingerprint", f)
	if of.Tenant != "" {
		log = log.With("tenant", of.Tenant)
	}
	var s shown
	switch {
	case err == nil:
		s.Done = "Forgotten. Its next delivery executes again, on whichever replica."
		log.Warn("a person had a webhook forgotten")
	case errors.Is(err, command.ErrRunning):
		s.Running = true
	case errors.Is(err, command.ErrNotFound):
		s.Problem = "There is nothing to forget."
	default:
		s.Problem = "It is not certain that it is forgotten; to try again does no harm."
		log.Error("a person wanted a webhook forgotten", "error", err)
	}
	d.show(r.Context(), w, f, of, s)
}

// show renders the page of a webhook.
func (d *Dashboard) show(
	ctx context.Context, w http.ResponseWriter, f fingerprint.Fingerprint, of command.Deployment, s shown,
) {
	ctx, cancel := context.WithTimeout(ctx, d.Timeout)
	defer cancel()
	s.Fingerprint, s.Tenant = f.Hex(), of.Tenant
	lines, err := of.Lines(ctx, command.Webhook{Fingerprint: &f})
	switch {
	case errors.Is(err, command.ErrNotFound) && s.Problem == "":
		s.Problem = "Redis has no record of it: it never came, was turned away before an execution began, or its time is " +
			"over."
	case err != nil && s.Problem == "":
		s.Problem = "Redis does not answer."
	}
	s.Lines = lines
	if d.keepsTrail() {
		told, conclusion, err := d.stories(ctx, trail.Query{Fingerprint: &f})
		if err != nil && s.Problem == "" {
			s.Problem = tooLong
		}
		if len(told) > 0 {
			s.Steps, s.Conclusion = told[0].Steps, conclusion
		}
	}
	d.render(w, s)
}

func (d *Dashboard) render(w http.ResponseWriter, s shown) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	if err := webhookPage.Execute(w, s); err != nil {
		d.Log.Debug("a page was not read to its end", "error", err)
	}
}
