package app

import (
	"bytes"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/pelletier/go-toml/v2"

	"github.com/pganalytics/pganalytics/internal/agent"
)

// tomlError puts file and position before what the decoder found. The decoder's
// own picture of the lines around is left out: a password may stand there.
func tomlError(path string, text []byte, err error) error {
	if strict, ok := errors.AsType[*toml.StrictMissingError](err); ok {
		var all []error
		for i := range strict.Errors {
			e := &strict.Errors[i]
			row, _ := e.Position()
			all = append(all, fmt.Errorf("%s:%d: unknown key %s", path, row, strings.Join(e.Key(), ".")))
		}
		return errors.Join(all...)
	}
	bad, ok := errors.AsType[*toml.DecodeError](err)
	if !ok { // the error of agent.Size, the one type that reads its own text
		return fmt.Errorf("%s: spool.max_size: %w", path, err)
	}
	row, column := bad.Position()
	said, key := strings.TrimPrefix(bad.Error(), "toml: "), strings.Join(bad.Key(), ".")
	// Not that something stands there twice, but what it is.
	if !strings.Contains(said, "already") {
		for of := bad.Key(); len(of) > 0; of = of[:len(of)-1] { // "name.x = 5": name is no section
			if want := wanted(of); want != "" {
				return fmt.Errorf("%s:%d:%d: %s%s: want %s", path, row, column, strings.Join(of, "."), shown(bad.Key(), text, row, column), want)
			}
		}
	}
	if key != "" {
		key = "key " + key + ": "
	}
	return fmt.Errorf("%s:%d:%d: %s%s", path, row, column, key, said)
}

// wanted says what a key takes, "" when the mistake is not one of a key's value.
func wanted(key []string) string {
	field := fieldOf(key)
	if !field.IsValid() {
		return ""
	}
	switch field.Kind() {
	case reflect.Int, reflect.Int64:
		// Validation knows the ranges: it tells this one of a value outside of all of them.
		kind := ""
		if field.Kind() == reflect.Int {
			kind = "a whole number "
		}
		return kind + rangeOf(key)
	case reflect.Bool, reflect.Pointer: // *bool: not set is neither
		return "true or false"
	case reflect.String:
		return `a text in "quotes"`
	case reflect.Slice:
		if field.Type().Elem().Kind() == reflect.String {
			return `a list of texts, ["…", "…"]`
		}
		return "sections [[" + strings.Join(key, ".") + "]]"
	case reflect.Map, reflect.Struct:
		if field.Kind() == reflect.Map && field.Type().Elem().Kind() == reflect.String {
			return `texts in "quotes", {name = "value"}`
		}
		return "a section [" + strings.Join(key, ".") + "]"
	}
	return ""
}

// fieldOf finds a key's field in a configuration that has a section for each of its
// parts; an invalid value when there is no such key.
func fieldOf(key []string) reflect.Value { return fieldIn(&agent.Config{}, key) }

func fieldIn(cfg *agent.Config, key []string) reflect.Value {
	if len(key) == 0 {
		return reflect.Value{}
	}
	v := reflect.ValueOf(cfg).Elem()
	for _, part := range key {
		if v.Kind() == reflect.Slice && v.Type().Elem().Kind() == reflect.Struct {
			v = reflect.New(v.Type().Elem()).Elem()
		}
		switch v.Kind() {
		case reflect.Struct:
			i := slices.IndexFunc(reflect.VisibleFields(v.Type()), func(f reflect.StructField) bool { return f.Tag.Get("toml") == part })
			if i < 0 {
				return reflect.Value{}
			}
			v = v.Field(i)
		case reflect.Map:
			v = reflect.New(v.Type().Elem()).Elem()
		default:
			return reflect.Value{}
		}
	}
	return v
}

// rangeOf gives the range of a number as Validate tells it.
func rangeOf(key []string) string {
	cfg := agent.Defaults()
	cfg.Normalize()
	if field := fieldIn(&cfg, key); len(key) == 3 && key[0] == "families" && key[2] == "every" {
		cfg.Families = map[string]agent.FamilyConfig{key[1]: {Every: -1}}
	} else {
		field.SetInt(-1)
	}
	if err := cfg.Validate(); err != nil {
		for line := range strings.Lines(err.Error()) {
			if _, want, ok := strings.Cut(line, ": want "); ok && strings.HasPrefix(line, strings.Join(key, ".")+" = ") {
				return strings.TrimSpace(want)
			}
		}
	}
	return "in its range"
}

// shown is " = VALUE" of what stands in the file, "" when that may hold a password or is
// more than a line.
func shown(key []string, text []byte, row, column int) string {
	lines := bytes.Split(text, []byte("\n"))
	if key[0] == "instances" || key[0] == "backend" || row < 1 || row > len(lines) || column < 1 || column > len(lines[row-1]) {
		return ""
	}
	var read struct {
		Value any `toml:"value"`
	}
	if toml.Unmarshal(append([]byte("value = "), lines[row-1][column-1:]...), &read) != nil {
		return ""
	}
	switch v := read.Value.(type) {
	case string:
		if len(v) > 100 {
			return ""
		}
		return " = " + strconv.Quote(v)
	case int64, float64, bool:
		return fmt.Sprintf(" = %v", v)
	}
	return ""
}
