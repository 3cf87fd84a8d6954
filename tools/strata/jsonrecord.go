package main

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/stratalog/strata/log"
)

// timeFormat is RFC 3339 with milliseconds.
const timeFormat = "2006-01-02T15:04:05.000Z07:00"

// micros formats microseconds since 1970.
func micros(t int64) string { return time.UnixMicro(t).UTC().Format(timeFormat) }

// appendRecordJSON appends r as one object, without a line feed. Fields of the object that come before
// those of r are given, each followed by a comma.
func appendRecordJSON(b []byte, before string, r *log.Record) []byte {
	b = append(b, '{')
	b = append(b, before...)
	b = append(b, `"topic":`...)
	b = appendString(b, r.Topic)
	b = append(b, `,"partition":`...)
	b = strconv.AppendInt(b, int64(r.Partition), 10)
	b = append(b, `,"offset":`...)
	b = strconv.AppendInt(b, r.Offset, 10)
	b = append(b, `,"position":`...)
	b = strconv.AppendUint(b, r.Position, 10)
	b = append(b, `,"timestamp":"`...)
	b = r.Timestamp.UTC().AppendFormat(b, timeFormat)
	b = append(b, `",`...)
	b = appendBytes(b, "key", r.Key)
	b = append(b, ',')
	b = appendBytes(b, "value", r.Value)
	b = append(b, `,"headers":[`...)
	for i, h := range r.Headers {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, '{')
		b = appendBytes(b, "key", []byte(h.Key))
		b = append(b, ',')
		b = appendBytes(b, "value", h.Value)
		b = append(b, '}')
	}
	return append(b, ']', '}')
}

// appendBytes appends a field that holds bytes: as a string, as null, or in base64 under a name that
// says so.
func appendBytes(b []byte, name string, value []byte) []byte {
	b = append(b, '"')
	b = append(b, name...)
	if value == nil {
		return append(b, `":null`...)
	}
	if utf8.Valid(value) {
		b = append(b, `":`...)
		return appendString(b, value)
	}
	b = append(b, `_base64":"`...)
	b = base64.StdEncoding.AppendEncode(b, value)
	return append(b, '"')
}

// appendString appends a JSON string. s is valid UTF-8.
func appendString[T string | []byte](b []byte, s T) []byte {
	const hex = "0123456789abcdef"
	b = append(b, '"')
	from := 0
	for i := range len(s) {
		c := s[i]
		if c >= ' ' && c != '"' && c != '\\' && c != 0x7f {
			continue
		}
		b = append(b, s[from:i]...)
		from = i + 1
		switch c {
		case '"', '\\':
			b = append(b, '\\', c)
		case '\n':
			b = append(b, `\n`...)
		case '\r':
			b = append(b, `\r`...)
		case '\t':
			b = append(b, `\t`...)
		default:
			b = append(b, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
		}
	}
	b = append(b, s[from:]...)
	return append(b, '"')
}

// jsonBytes is a field that holds bytes, under one of its two names.
type jsonBytes struct {
	text   *string
	base64 *[]byte
}

func (j jsonBytes) bytes() []byte {
	switch {
	case j.base64 != nil && *j.base64 != nil:
		return *j.base64
	case j.base64 != nil:
		return []byte{}
	case j.text != nil:
		return []byte(*j.text)
	}
	return nil
}

// parseRecordJSON fills r with key, value, headers and timestamp of an object as appendRecordJSON makes
// it. Where the record was is not taken over.
func parseRecordJSON(line []byte, r *log.Record) error {
	type pair struct {
		Key         *string `json:"key"`
		KeyBase64   *[]byte `json:"key_base64"`
		Value       *string `json:"value"`
		ValueBase64 *[]byte `json:"value_base64"`
	}
	var object struct {
		pair
		Timestamp *time.Time `json:"timestamp"`
		Headers   []pair     `json:"headers"`
	}
	if err := json.Unmarshal(line, &object); err != nil {
		return fmt.Errorf("not a record in JSON: %w", err)
	}
	*r = log.Record{
		Key:   jsonBytes{object.Key, object.KeyBase64}.bytes(),
		Value: jsonBytes{object.Value, object.ValueBase64}.bytes(),
	}
	if object.Timestamp != nil {
		r.Timestamp = *object.Timestamp
	}
	for _, h := range object.Headers {
		r.Headers = append(r.Headers, log.Header{
			Key:   string(jsonBytes{h.Key, h.KeyBase64}.bytes()),
			Value: jsonBytes{h.Value, h.ValueBase64}.bytes(),
		})
	}
	return nil
}
