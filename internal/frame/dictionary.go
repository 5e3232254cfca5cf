package frame

import (
	_ "embed"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/pganalytics/pganalytics/internal/catalog"
)

// dictionaryText is the frozen list of what travels as a number: names and words, of
// which a small batch would else mostly consist, and the columns of families, of
// which a frame says by bits which it has. It belongs to formatVersion. It does not
// follow the catalog: a family or column declared later travels as text, with its
// kind and type, so that a backend of any age reads it.
//
//go:embed dictionary.txt
var dictionaryText string

var dict = parseDictionary(dictionaryText)

type dictionary struct {
	words  []string // none twice; a word's number is its place
	number map[string]uint64
	listed map[string][]listed // columns by family
}

// listed is a column of the dictionary.
type listed struct {
	name string
	kind catalog.Kind
	typ  catalog.Type
}

// maxListed bounds the columns that the dictionary has of a family.
const maxListed = 64

func parseDictionary(text string) *dictionary {
	d := &dictionary{number: map[string]uint64{}, listed: map[string][]listed{}}
	word := func(s string) string {
		if _, ok := d.number[s]; !ok {
			d.number[s] = uint64(len(d.words))
			d.words = append(d.words, s)
		}
		return s
	}
	family := ""
	for line := range strings.Lines(text) {
		line = strings.TrimSuffix(line, "\n")
		if s, ok := strings.CutPrefix(line, "- "); ok {
			word(s)
		} else if s, ok := strings.CutPrefix(line, "family "); ok {
			family = word(s)
		} else if s, ok := strings.CutPrefix(line, "\t"); ok {
			f := strings.Fields(s)
			if len(f) != 3 || family == "" || len(d.listed[family]) == maxListed {
				panic(fmt.Sprintf("BUG: dictionary.txt: %q", line))
			}
			c := listed{word(f[0]), catalog.Kind(f[1]), catalog.Type(f[2])}
			_, _ = code(kinds, c.kind), code(types, c.typ) // panics when there is no such one
			d.listed[family] = append(d.listed[family], c)
		} else if !strings.HasPrefix(line, "#") {
			panic(fmt.Sprintf("BUG: dictionary.txt: %q", line))
		}
	}
	return d
}

// clean makes of any string one that PostgreSQL can hold and a decoder takes: a
// watched database of encoding SQL_ASCII gives bytes that are no UTF-8.
func clean(s string) string {
	if len(s) <= MaxText && utf8.ValidString(s) && strings.IndexByte(s, 0) < 0 {
		return s
	}
	s = strings.ReplaceAll(strings.ToValidUTF8(s, "\uFFFD"), "\x00", "")
	if len(s) > MaxText {
		s = strings.ToValidUTF8(s[:MaxText], "")
	}
	return s
}
