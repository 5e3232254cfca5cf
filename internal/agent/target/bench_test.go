package target_test

import (
	"context"
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pganalytics/pganalytics/internal/agent/target"
	"github.com/pganalytics/pganalytics/internal/catalog"
	"github.com/pganalytics/pganalytics/internal/pgserver/pgtest"
)

func cpu() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkRead compares the CPU time of the two rounds of an instance (one
// database, 20 tables with two indexes each, so many statements) with the floor in
// the same run: the same SQL, prepared, by pgconn in pipelines, binary, rows thrown
// away by NextRow.
func BenchmarkRead(b *testing.B) {
	for _, statements := range []int{120, 1000} {
		b.Run(fmt.Sprint(statements), func(b *testing.B) { benchmarkRead(b, statements) })
	}
}

func benchmarkRead(b *testing.B, statements int) {
	s := pgtest.Private(b, pgtest.StoreMajor(b))
	url := s.URL("postgres")
	conn := pgtest.Connect(b, url)
	execAll(b, conn, "CREATE EXTENSION pg_stat_statements")
	for i := range 20 {
		execAll(b, conn, fmt.Sprintf("CREATE TABLE t%d (a int PRIMARY KEY, b int)", i), fmt.Sprintf("CREATE INDEX ON t%d (b)", i))
	}
	for i := range statements { // what tells them apart is the number of columns
		execAll(b, conn, "SELECT 1"+strings.Repeat(", 1", i))
	}
	tg := newTarget(b, url)
	facts := contact(b, tg)
	slow, fast := planned(facts, "postgres", catalog.Slow), planned(facts, "postgres", catalog.Fast)

	floor, err := pgconn.Connect(b.Context(), url)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = floor.Close(context.Background()) })
	prepare := func(plans []target.Plan) (sds []*pgconn.StatementDescription) {
		for _, p := range plans {
			if p.Family.TextsOf != "" {
				continue
			}
			v, schema := catalog.Version(s.Major), ""
			if p.Family.Of != "" {
				var version string
				if err := conn.QueryRow(b.Context(), "SELECT extversion FROM pg_extension WHERE extname = $1", p.Family.Of).Scan(&version); err != nil {
					b.Fatal(err)
				}
				v, _ = catalog.ParseExtVersion(version)
				schema = "public"
			}
			sd, err := floor.Prepare(b.Context(), p.Family.Name, p.Family.Query(v, schema).SQL, nil)
			if err != nil {
				b.Fatal(err)
			}
			sds = append(sds, sd)
		}
		return sds
	}
	slowFloor, fastFloor := prepare(slow), prepare(fast)
	rows := 0
	throw := func(sds []*pgconn.StatementDescription) {
		p := floor.StartPipeline(context.Background())
		for _, sd := range sds {
			p.SendQueryStatement(sd, nil, nil, []int16{1})
		}
		if err := p.Sync(); err != nil {
			b.Fatal(err)
		}
		for range sds {
			got, err := p.GetResults()
			if err != nil {
				b.Fatal(err)
			}
			r := got.(*pgconn.ResultReader)
			for r.NextRow() {
				rows++
			}
			if _, err := r.Close(); err != nil {
				b.Fatal(err)
			}
		}
		if err := p.Close(); err != nil {
			b.Fatal(err)
		}
	}
	ours := func(lane catalog.Lane, plans []target.Plan) {
		got, _, err := tg.Read(context.Background(), "postgres", lane, plans, nil)
		if err != nil {
			b.Fatal(err)
		}
		for i := range got {
			if got[i].Err != nil {
				b.Fatal(got[i].Err)
			}
		}
		target.Release(got)
	}
	for range 10 {
		ours(catalog.Slow, slow)
		ours(catalog.Fast, fast)
		throw(slowFloor)
		throw(fastFloor)
	}
	var ourCPU, floorCPU time.Duration
	rows = 0
	b.ReportAllocs()
	for b.Loop() {
		t0 := cpu()
		ours(catalog.Slow, slow)
		ours(catalog.Fast, fast)
		t1 := cpu()
		throw(slowFloor)
		throw(fastFloor)
		ourCPU += t1 - t0
		floorCPU += cpu() - t1
	}
	n := float64(b.N)
	b.ReportMetric(float64(ourCPU.Microseconds())/n, "cpu-µs/op")
	b.ReportMetric(float64(floorCPU.Microseconds())/n, "floor-cpu-µs/op")
	b.ReportMetric(float64(ourCPU)/float64(floorCPU), "x-floor")
	b.ReportMetric(float64(rows)/n, "rows/op")
}
