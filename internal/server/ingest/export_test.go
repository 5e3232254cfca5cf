package ingest

// Held gives the bytes that requests hold of the budgets for bodies and for decoded batches.
func (in *Ingest) Held() (body, raw int64) {
	held := func(total int64, try func(int64) bool, release func(int64)) int64 {
		for n := int64(0); n <= total; n++ {
			if try(total - n) {
				release(total - n)
				return n
			}
			n += total / 1000
		}
		return total
	}
	return held(totalBody, in.budget.body.TryAcquire, in.budget.body.Release), held(totalRaw, in.budget.raw.TryAcquire, in.budget.raw.Release)
}
