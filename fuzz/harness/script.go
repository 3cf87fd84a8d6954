package harness

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"path"
	"slices"
	"strings"
)

// Script damages a copy of the directory as the bytes of script say, opens it, and reads it in every
// way: what Damage does one by one, in any combination. Every eight bytes are one damage: what, which
// file, where, and how much. The result must be what Damage asks for.
func (c *Closed) Script(script []byte) (Verdicts, error) {
	m := mutation{what: "a script", deep: true}
	names := c.names()
	var steps []func(map[string][]byte)
	for ; len(script) >= 8 && len(steps) < 16; script = script[8:] {
		f := names[int(script[1])%len(names)]
		g := names[int(script[6])%len(names)]
		at, n := int(binary.LittleEndian.Uint32(script[2:])), int(script[7])+1
		m.files = append(m.files, c.near(f)...)
		m.window = m.window || f == c.last
		switch script[0] % 8 {
		case 0, 1:
			steps = append(steps, edit(f, at, func(b []byte) { b[0] ^= script0(n) }))
		case 2:
			steps = append(steps, edit(f, at, func(b []byte) { clear(b[:min(n, len(b))]) }))
		case 3:
			steps = append(steps, edit(f, at, func(b []byte) {
				for i := range min(n, len(b)) {
					b[i] = byte(i*n + 1)
				}
			}))
		case 4:
			steps = append(steps, func(files map[string][]byte) { files[f] = files[f][:at%(len(files[f])+1)] })
		case 5:
			m.files, m.window = append(m.files, c.near(g)...), m.window || g == c.last
			steps = append(steps, func(files map[string][]byte) { files[f], files[g] = files[g], files[f] })
		case 6:
			steps = append(steps, func(files map[string][]byte) {
				files[f] = append(bytes.Clone(files[f]), bytes.Repeat([]byte{byte(at)}, n)...)
			})
		case 7:
			m.files, m.window = append(m.files, c.near(g)...), m.window || g == c.last
			steps = append(steps, edit(f, at, func(b []byte) {
				other := c.Files[g]
				copy(b[:min(512, len(b))], other[min(at, len(other)):])
			}))
		}
	}
	m.change = func(files map[string][]byte) {
		for _, step := range steps {
			step(files)
		}
	}
	v, err := c.try(&m)
	if err != nil {
		err = fmt.Errorf("damaged %s: %w", strings.Join(m.files, ", "), err)
	}
	return v, err
}

func script0(n int) byte { return byte(max(1, n%256)) }

// edit changes a copy of a file from some byte on.
func edit(f string, at int, change func([]byte)) func(map[string][]byte) {
	return func(files map[string][]byte) {
		if len(files[f]) == 0 {
			return
		}
		b := bytes.Clone(files[f])
		change(b[at%len(b):])
		files[f] = b
	}
}

// near returns the names that an error may blame when f is damaged: its own and, of a segment, those of
// its neighbours, since each head names the one before.
func (c *Closed) near(f string) []string {
	near := []string{path.Base(f)}
	segs := slices.DeleteFunc(c.names(), func(n string) bool { return path.Ext(n) != ".seg" })
	at := slices.Index(segs, f)
	for _, i := range []int{at - 1, at + 1} {
		if at >= 0 && i >= 0 && i < len(segs) {
			near = append(near, path.Base(segs[i]))
		}
	}
	return near
}
