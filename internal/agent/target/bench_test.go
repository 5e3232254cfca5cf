package target_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
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
// away by NextRow. 16 instances, by name, are read by 4 workers.
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
	const instances, workers = 16, 4
	var watched []*target.Target
	var facts *target.Facts
	var floors []*pgconn.PgConn
	for range instances {
		tg := newTarget(b, url)
		facts = contact(b, tg)
		watched = append(watched, tg)
		for range 2 { // one for each lane
			floor, err := pgconn.Connect(b.Context(), url)
			if err != nil {
				b.Fatal(err)
			}
			b.Cleanup(func() { _ = floor.Close(context.Background()) })
			floors = append(floors, floor)
		}
	}
	slow, fast := planned(facts, "postgres", catalog.Slow), planned(facts, "postgres", catalog.Fast)
	prepare := func(floor *pgconn.PgConn, plans []target.Plan) (sds []*pgconn.StatementDescription) {
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
	var slowFloor, fastFloor []*pgconn.StatementDescription
	for i := range instances {
		slowFloor, fastFloor = prepare(floors[2*i], slow), prepare(floors[2*i+1], fast)
	}
	var rows atomic.Int64
	throw := func(floor *pgconn.PgConn, sds []*pgconn.StatementDescription) error {
		p := floor.StartPipeline(context.Background())
		for _, sd := range sds {
			p.SendQueryStatement(sd, nil, nil, []int16{1})
		}
		if err := p.Sync(); err != nil {
			return err
		}
		n := 0
		for range sds {
			got, err := p.GetResults()
			if err != nil {
				return err
			}
			r := got.(*pgconn.ResultReader)
			for r.NextRow() {
				n++
			}
			if _, err := r.Close(); err != nil {
				return err
			}
		}
		rows.Add(int64(n))
		return p.Close()
	}
	read := func(tg *target.Target, lane catalog.Lane, plans []target.Plan) error {
		got, _, err := tg.Read(context.Background(), "postgres", lane, plans, nil)
		for i := range got {
			err = errors.Join(err, got[i].Err)
		}
		target.Release(got)
		return err
	}
	ours := func(i int) error {
		return errors.Join(read(watched[i], catalog.Slow, slow), read(watched[i], catalog.Fast, fast))
	}
	theirs := func(i int) error {
		return errors.Join(throw(floors[2*i], slowFloor), throw(floors[2*i+1], fastFloor))
	}
	cycle := func(one func(int) error) time.Duration {
		before := cpu()
		var next atomic.Int64
		var all sync.WaitGroup
		for range workers {
			all.Go(func() {
				for i := next.Add(1) - 1; i < instances; i = next.Add(1) - 1 {
					if err := one(int(i)); err != nil {
						b.Error(err)
					}
				}
			})
		}
		all.Wait()
		return cpu() - before
	}
	for range 5 {
		cycle(ours)
		cycle(theirs)
	}
	var ourCPU, floorCPU time.Duration
	rows.Store(0)
	b.ReportAllocs()
	for b.Loop() {
		ourCPU += cycle(ours)
		floorCPU += cycle(theirs)
	}
	n := float64(b.N) * instances
	b.ReportMetric(float64(ourCPU.Microseconds())/n, "cpu-µs/instance")
	b.ReportMetric(float64(floorCPU.Microseconds())/n, "floor-cpu-µs/instance")
	b.ReportMetric(float64(ourCPU)/float64(floorCPU), "x-floor")
	b.ReportMetric(float64(rows.Load())/n, "rows/instance")
}
