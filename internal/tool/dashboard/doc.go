// Command dashboard writes grafana/: dashboards, the data source, the five alerts.
// `make gen` calls it; a test checks that the committed files are current. Run it in
// the repository's root.
//
// What an instance's dashboard shows follows from the catalog's panels, so that a
// new family shows up by itself (invariant I6). Two rules hold for every query:
// what was not observed is NULL, never joined over and never 0; and who is
// registered has a row, whether he reports or not (I5).
//
// The JSON is written from the few structs in grafana.go. The foundation SDK was
// looked at (v0.0.22): it has no type for an SQL query, writes unset enums as "",
// and would be 20 MB in the product's module for what is 100 lines here.
package main
