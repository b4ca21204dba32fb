package scripts_test

import (
	"github.com/oncegate/oncegate/internal/record"
	"github.com/oncegate/oncegate/scripts"
)

// The operations in the form that most tests need.

func claimOp(key, token string, first bool, digest record.Digest, reject bool) scripts.Op {
	return scripts.Claim(key, token, scripts.Question{First: first, Digest: digest, Reject: reject})
}

func lookOp(key string, first bool) scripts.Op {
	return scripts.Look(key, scripts.Question{First: first})
}

func renewOp(key string, attempt int64, token string, digest record.Digest) scripts.Op {
	return scripts.Renew(key, attempt, token, digest, false, 0)
}

func failOp(key string, attempt int64, token, reason string, doubt bool) scripts.Op {
	return scripts.Fail(key, attempt, token, reason, digest, doubt, 0)
}

func storeOp(key string, attempt int64, token string, digest record.Digest, r record.Result) scripts.Op {
	return scripts.Store(key, record.Record{State: record.Done, Attempt: attempt, Token: token, Digest: digest,
		Result: r})
}
