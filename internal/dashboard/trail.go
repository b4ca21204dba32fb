package dashboard

import (
	"context"
	"net/http"
	"strings"

	"github.com/oncegate/oncegate/internal/command"
	"github.com/oncegate/oncegate/internal/trail"
)

// step is one event of a webhook. It holds nothing of the webhook's request.
type step struct{ At, Words string }

// story is what became of a webhook.
type story struct {
	Fingerprint string
	Page        string // its path
	Steps       []step
}

// stories returns what the trail has about the webhooks of a query, of any tenant, and what follows from it.
func (d *Dashboard) stories(ctx context.Context, q trail.Query) (all []story, conclusion []string, err error) {
	ctx, cancel := context.WithTimeout(ctx, 2*d.Timeout)
	defer cancel()
	q.AnyTenant = true
	var webhooks command.Webhooks
	for e, err := range trail.NewReader(d.Store.Client, d.Store.Keys, q).Read(ctx) {
		if err != nil {
			return nil, nil, err
		}
		webhooks.Add(e)
	}
	for _, events := range webhooks.All {
		first := &events[0]
		of := story{Fingerprint: first.Fingerprint.Hex(), Page: pageOf(first.Fingerprint, first.Tenant)}
		for _, e := range events {
			of.Steps = append(of.Steps, step{e.At.UTC().Format("2006-01-02 15:04:05.000"), command.EventWords(&e)})
		}
		all = append(all, of)
	}
	return all, command.Conclusion(webhooks.All), nil
}

// keepsTrail reports whether there is a trail.
func (d *Dashboard) keepsTrail() bool {
	of, _ := d.Records("")
	return of.KeepTrail > 0
}

// Bounds of a page.
const (
	mostStories = 50
	tooLong     = "The trail could not be read in time: ask oncegate trail."
)

// search leads to the page of the webhook whose request had a value (NAME=VALUE, or a dialogId), or lists several. The
// value is in the body of the request for the page, and is shown nowhere.
func (d *Dashboard) search(w http.ResponseWriter, r *http.Request, text string) {
	name, value, named := strings.Cut(text, "=")
	if !named || name == "" {
		name, value = trail.Dialog, text
	}
	found, conclusion, err := d.stories(r.Context(), trail.Query{Name: name, Value: value})
	s := shown{Found: found, Conclusion: conclusion}
	switch {
	case err != nil:
		s.Problem = tooLong
		d.Log.Warn("the trail was not read", "error", err)
	case len(found) == 0:
		s.Problem = "The trail has no such webhook. It is searched by a dialogId, or by field=value (TRAIL_FIELDS)."
	case len(found) == 1:
		http.Redirect(w, r, found[0].Page, http.StatusSeeOther)
		return
	case len(found) > mostStories:
		s.Problem = "These are too many for a page: ask oncegate trail. Here are the first ones."
		s.Found, s.Conclusion = found[:mostStories], nil
	}
	d.render(w, s)
}
