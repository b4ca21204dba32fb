package main

import "testing"

func TestJudge(t *testing.T) {
	got := judge([]delivery{
		{0, 200, "a"}, {0, 200, "a"}, {0, 409, "null"}, // once
		{1, 200, "b"}, {1, 200, "c"}, {1, 200, "c"}, // twice, and two answers that are not the first
		{2, 0, ""}, {2, 500, ""}, // never
	}, 3)
	want := Right{Fingerprints: 3, Deliveries: 8, Extra: 1, Different: 2, Errors: 3}
	if got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
}
