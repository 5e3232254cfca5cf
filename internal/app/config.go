package app

import (
	"bytes"
	"encoding"
	"errors"
	"fmt"
	"maps"
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
var otherVariables = []string{"PGANALYTICS_API_TOKEN_FILE", "PGANALYTICS_REGISTRATION_TOKEN_FILE", "PGANALYTICS_TOKEN", ratePush, rateRegister, rateSignIn}

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
			return cfg, nil, usageError{tomlError(path, text, err)}
		}
	}
	warnings, err = fromEnvironment(&cfg, path, environ)
	return cfg, warnings, err
}

// fromEnvironment overlays the environment and validates the whole. An error names the
// variable that a wrong value came from, else the file at path.
func fromEnvironment(cfg *agent.Config, path string, environ []string) (warnings []string, err error) {
	given, warnings, err := overlay(cfg, environ)
	if err != nil {
		return warnings, usageError{err}
	}
	cfg.Normalize()
	if err := cfg.Validate(); err != nil {
		return warnings, usageError{whereFrom(err, path, given)}
	}
	return warnings, nil
}

// whereFrom puts before each of joined errors where its value was given. An error begins
// with its key, and may name a second one that the first has to fit.
func whereFrom(err error, path string, given map[string]string) error {
	list := []error{err}
	if joined, ok := err.(interface{ Unwrap() []error }); ok { //nolint:errorlint // the outermost is the join
		list = joined.Unwrap()
	}
	for i, err := range list {
		var variables []string
		for _, key := range slices.Sorted(maps.Keys(given)) {
			if strings.Contains(err.Error(), key) {
				variables = append(variables, given[key])
			}
		}
		switch {
		case len(variables) > 0:
			list[i] = fmt.Errorf("environment variable %s: %w", strings.Join(variables, ", "), err)
		case path != "":
			list[i] = fmt.Errorf("%s: %w", path, err)
		}
	}
	return errors.Join(list...)
}

// overlay sets keys from PGANALYTICS_SECTION_KEY. Lists and tables have no
// variables. An unknown PGANALYTICS_ name is a warning, a bad value an error. given holds
// the variable of each key that was set.
func overlay(cfg *agent.Config, environ []string) (given map[string]string, warnings []string, err error) {
	given = map[string]string{}
	type key struct {
		name  string
		field reflect.Value
	}
	keys := map[string]key{}
	sections := reflect.ValueOf(cfg).Elem()
	for i := range sections.NumField() {
		section := sections.Field(i)
		if section.Kind() != reflect.Struct {
			continue
		}
		for j := range section.NumField() {
			of, name := sections.Type().Field(i).Tag.Get("toml"), section.Type().Field(j).Tag.Get("toml")
			keys[envPrefix+strings.ToUpper(of+"_"+name)] = key{of + "." + name, section.Field(j)}
		}
	}
	var errs []error
	for _, entry := range slices.Sorted(slices.Values(environ)) {
		name, value, _ := strings.Cut(entry, "=")
		if !strings.HasPrefix(name, envPrefix) || slices.Contains(otherVariables, name) {
			continue
		}
		k, known := keys[name]
		if !known {
			warnings = append(warnings, fmt.Sprintf("environment variable %s is not known", name))
			continue
		}
		if err := set(k.field, value); err != nil {
			errs = append(errs, fmt.Errorf("environment variable %s = %q: %w", name, value, err))
		}
		given[k.name] = name
	}
	return given, warnings, errors.Join(errs...)
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
