package linear

import "slices"

// narrow returns the history with the times of its calls narrowed to where they can have taken effect, which
// changes no verdict and spares porcupine most of its search: what saw a version took effect behind the append
// that made it and before the one that followed, and appends took effect in the order of their versions. A key
// with an append whose outcome is not known, or with two that made one version, stays as it is.
func narrow(history []Op) []Op {
	byKey := map[string][]int{}
	for i, o := range history {
		byKey[o.Key] = append(byKey[o.Key], i)
	}
	out := slices.Clone(history)
	spread(out)
	for _, ops := range byKey {
		narrowKey(out, ops)
	}
	return out
}

// spread puts so much room between any two different moments that one can be moved by a step for each
// operation without reaching the next.
func spread(ops []Op) {
	var moments []int64
	for _, o := range ops {
		moments = append(moments, o.Call, o.Return)
	}
	slices.Sort(moments)
	moments = slices.Compact(moments)
	room := int64(2*len(ops) + 2)
	for i := range ops {
		o := &ops[i]
		call, _ := slices.BinarySearch(moments, o.Call)
		o.Call = int64(2*call) * room
		if o.Return < Forever {
			ret, _ := slices.BinarySearch(moments, o.Return)
			o.Return = int64(2*ret+1) * room // behind what is called at that moment
		}
	}
}

func narrowKey(out []Op, ops []int) {
	leaves := map[int64]*Op{} // by the version that an append followed
	saw := map[int64][]*Op{}
	last := int64(-1)
	for _, i := range ops {
		o := &out[i]
		switch {
		case o.Append && o.Outcome == Unknown, o.Append && o.Outcome == Done && leaves[o.Expected] != nil:
			return
		case o.Append && o.Outcome == Done:
			leaves[o.Expected] = o
			last = max(last, o.Expected)
		default:
			saw[o.Version] = append(saw[o.Version], o)
		}
	}
	after := int64(-1) // the append that made version v took effect behind this
	for v := int64(0); v <= last+1; v++ {
		latest := after
		for _, o := range saw[v] {
			o.Call = max(o.Call, after)
			latest = max(latest, o.Call)
		}
		if o := leaves[v]; o != nil {
			o.Call = max(o.Call, latest+1)
			after = o.Call + 1
		}
	}
	before := Forever
	for v := last + 1; v >= 0; v-- {
		if o := leaves[v]; o != nil {
			o.Return = min(o.Return, before)
			before = o.Return
		}
		for _, o := range saw[v] {
			o.Return = min(o.Return, before)
		}
		for _, o := range saw[v] {
			before = min(before, o.Return)
		}
	}
}
