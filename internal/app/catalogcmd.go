package app

import (
	"fmt"
	"strings"
	"text/tabwriter"

	"github.com/pganalytics/pganalytics/internal/catalog"
)

type catalogCommand struct {
	List catalogList `cmd:"" help:"List the families."`
	SQL  catalogSQL  `cmd:"" name:"sql" help:"Print the SQL of a family at a version."`
	Docs catalogDocs `cmd:"" help:"Print the documentation of every family (docs/metrics.md)."`
}

type catalogList struct{}

func (catalogList) Run(con *console) error {
	w := tabwriter.NewWriter(con.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "FAMILY\tSCOPE\tSHAPE\tLANE\tEVERY\tCOLUMNS\tSOURCE")
	for _, f := range catalog.All() {
		every, source := "interval", f.Of
		if f.Every > 0 {
			every = f.Every.String()
		}
		switch {
		case f.Reader != "":
			source = "the " + f.Reader + " itself"
		case source == "":
			source = "PostgreSQL"
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%d\t%s\n", f.Name, f.Scope, f.Shape, f.Lane, every, len(f.Columns), source)
	}
	return w.Flush()
}

type catalogSQL struct {
	Family  string `arg:"" help:"Name of the family."`
	Version string `help:"Major version of PostgreSQL (17), or of the extension that the family lives in (1.11)." default:"18"`
}

// extensionOf gives the version of pg_stat_statements that came with each major.
var extensionOf = map[catalog.Version]catalog.Version{12: 107, 13: 108, 14: 109, 15: 110, 16: 110, 17: 111, 18: 112}

func (c *catalogSQL) Run(con *console) error {
	f := catalog.Lookup(c.Family)
	if f == nil {
		return usagef("FAMILY = %q: want one of %s", c.Family, strings.Join(catalog.Names(), ", "))
	}
	if f.Reader != "" {
		_, err := fmt.Fprintf(con.stdout, "-- %s is not read by SQL: its reader is the %s\n", f.Name, f.Reader)
		return err
	}
	v, err := catalog.ParseExtVersion(c.Version)
	if err != nil || f.Of == "" {
		var major int
		if n, err := fmt.Sscanf(c.Version, "%d", &major); n != 1 || err != nil || major < 12 || major > 99 {
			return usagef("--version = %q: want a major version of PostgreSQL from 12 on", c.Version)
		}
		v = catalog.Version(major)
		if f.Of != "" {
			if v = extensionOf[v]; v == 0 {
				return usagef("--version = %q: want 12 to 18, or the version of %s (1.11)", c.Version, f.Of)
			}
		}
	}
	if !f.Available(v) {
		_, err := fmt.Fprintf(con.stdout, "-- %s is not available at %s\n", f.Name, c.Version)
		return err
	}
	schema := ""
	if f.Of != "" {
		schema = "public"
	}
	_, err = fmt.Fprintln(con.stdout, f.Query(v, schema).SQL+";")
	return err
}

type catalogDocs struct{}

func (catalogDocs) Run(con *console) error {
	_, err := con.stdout.Write(catalog.Docs())
	return err
}
