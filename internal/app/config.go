package app

import (
	"bytes"
	"encoding"
	"errors"
	"fmt"
	"os"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/pelletier/go-toml/v2"

	"github.com/pganalytics/pganalytics/internal/agent"
)

// envPrefix marks the product's own variables; those of tests and tools have
// another prefix.
const envPrefix = "PGANALYTICS_"

// otherVariables are PGANALYTICS_ names that are no collector keys.
var otherVariables = []string{"PGANALYTICS_API_TOKEN_FILE", "PGANALYTICS_REGISTRATION_TOKEN_FILE", "PGANALYTICS_TOKEN"}

// loadCollector reads a collector's configuration: defaults, then the file ("" for
// none), then the environment. Warnings are for the log. Every error names file,
// line and key, or the variable.
func loadCollector(path string, environ []string) (cfg agent.Config, warnings []string, err error) {
	cfg = agent.Defaults()
	if path != "" {
		text, err := os.ReadFile(path)
		if err != nil {
			return cfg, nil, usageError{fmt.Errorf("--config: %w", err)}
		}
		dec := toml.NewDecoder(bytes.NewReader(text))
		dec.DisallowUnknownFields()
		if err := dec.Decode(&cfg); err != nil {
			return cfg, nil, usageError{tomlError(path, err)}
		}
	}
	warnings, err = overlay(&cfg, environ)
	if err != nil {
		return cfg, warnings, usageError{err}
	}
	cfg.Normalize()
	if err := cfg.Validate(); err != nil {
		where := path
		if where == "" {
			where = "configuration"
		}
		return cfg, warnings, usageError{fmt.Errorf("%s: %w", where, err)}
	}
	return cfg, warnings, nil
}

// tomlError puts file and position before what the decoder found. The decoder's
// own picture of the lines around is left out: a password may stand there.
func tomlError(path string, err error) error {
	if strict, ok := errors.AsType[*toml.StrictMissingError](err); ok {
		var all []error
		for i := range strict.Errors {
			e := &strict.Errors[i]
			row, _ := e.Position()
			all = append(all, fmt.Errorf("%s:%d: unknown key %s", path, row, strings.Join(e.Key(), ".")))
		}
		return errors.Join(all...)
	}
	if bad, ok := errors.AsType[*toml.DecodeError](err); ok {
		row, column := bad.Position()
		key := strings.Join(bad.Key(), ".")
		if key != "" {
			key = "key " + key + ": "
		}
		return fmt.Errorf("%s:%d:%d: %s%s", path, row, column, key, strings.TrimPrefix(bad.Error(), "toml: "))
	}
	return fmt.Errorf("%s: %w", path, err)
}

// overlay sets keys from PGANALYTICS_SECTION_KEY. Lists and tables have no
// variables. An unknown PGANALYTICS_ name is a warning, a bad value an error.
func overlay(cfg *agent.Config, environ []string) (warnings []string, err error) {
	keys := map[string]reflect.Value{}
	sections := reflect.ValueOf(cfg).Elem()
	for i := range sections.NumField() {
		section := sections.Field(i)
		if section.Kind() != reflect.Struct {
			continue
		}
		for j := range section.NumField() {
			name := envPrefix + strings.ToUpper(sections.Type().Field(i).Tag.Get("toml")+"_"+section.Type().Field(j).Tag.Get("toml"))
			keys[name] = section.Field(j)
		}
	}
	var errs []error
	for _, entry := range slices.Sorted(slices.Values(environ)) {
		name, value, _ := strings.Cut(entry, "=")
		if !strings.HasPrefix(name, envPrefix) || slices.Contains(otherVariables, name) {
			continue
		}
		field, known := keys[name]
		if !known {
			warnings = append(warnings, fmt.Sprintf("environment variable %s is not known", name))
			continue
		}
		if err := set(field, value); err != nil {
			errs = append(errs, fmt.Errorf("environment variable %s = %q: %w", name, value, err))
		}
	}
	return warnings, errors.Join(errs...)
}

func set(field reflect.Value, value string) error {
	if u, ok := reflect.TypeAssert[encoding.TextUnmarshaler](field.Addr()); ok {
		return u.UnmarshalText([]byte(value))
	}
	switch field.Kind() {
	case reflect.String:
		field.SetString(value)
	case reflect.Int:
		n, err := strconv.Atoi(value)
		if err != nil {
			return errors.New("want a whole number")
		}
		field.SetInt(int64(n))
	case reflect.Bool:
		b, err := strconv.ParseBool(value)
		if err != nil {
			return errors.New("want true or false")
		}
		field.SetBool(b)
	default:
		panic("BUG: configuration key of kind " + field.Kind().String() + " in the environment")
	}
	return nil
}
