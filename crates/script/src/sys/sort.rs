//! `table.sort`: the quicksort of PUC Lua 5.1, whose order of equal elements scripts can see, with
//! questions whether to go on.

use std::ffi::c_int;

use mlua::ffi;

use super::{guarded, raise_stop, raise_text, shared_of};
use crate::state::Shared;

/// Comparisons between two questions whether to go on: some 100 microseconds.
const COMPARISONS_PER_INTERRUPT: u32 = 1 << 12;

/// A sort of the table at place 1 by the function at place 2, if there is one. It is plain data,
/// because errors of Lua jump over it.
struct Sorter<'a> {
    state: *mut ffi::lua_State,
    shared: &'a Shared,
    has_order: bool,
    comparisons: u32,
}

/// `table.sort(t [, order])`
pub(crate) unsafe extern "C-unwind" fn sort(state: *mut ffi::lua_State) -> c_int {
    // SAFETY: Lua calls a function that `function` has made; the sorter has no destructor, and
    // needs no more than the room that functions of C have.
    unsafe {
        ffi::luaL_checktype(state, 1, ffi::LUA_TTABLE);
        let count = ffi::lua_objlen(state, 1) as c_int;
        let has_order = ffi::lua_type(state, 2) > ffi::LUA_TNIL;
        if has_order {
            ffi::luaL_checktype(state, 2, ffi::LUA_TFUNCTION);
        }
        ffi::lua_settop(state, 2);
        let mut sorter = Sorter {
            state,
            shared: shared_of(state),
            has_order,
            comparisons: 0,
        };
        sorter.range(1, count);
    }
    0
}

impl Sorter<'_> {
    /// Whether the value at `left` of the stack comes before the one at `right`; both are counted
    /// from the top.
    unsafe fn is_less(&mut self, left: c_int, right: c_int) -> bool {
        let state = self.state;
        self.comparisons = self.comparisons.wrapping_add(1);
        if self.comparisons.is_multiple_of(COMPARISONS_PER_INTERRUPT) {
            let shared = self.shared;
            if guarded(shared, || shared.interrupt()).is_err() {
                // SAFETY: the frames of the sort have nothing to drop.
                unsafe { raise_stop(state) }
            }
        }
        // SAFETY: as `sort`; what is pushed is popped.
        unsafe {
            if !self.has_order {
                return ffi::lua_lessthan(state, left, right) != 0;
            }
            ffi::lua_pushvalue(state, 2);
            ffi::lua_pushvalue(state, left.wrapping_sub(1));
            ffi::lua_pushvalue(state, right.wrapping_sub(2));
            ffi::lua_call(state, 2, 1);
            let is_less = ffi::lua_toboolean(state, -1) != 0;
            ffi::lua_settop(state, -2);
            is_less
        }
    }

    /// Pushes two elements.
    unsafe fn push(&self, first: c_int, second: c_int) {
        // SAFETY: as `sort`; the table is at place 1.
        unsafe {
            ffi::lua_rawgeti_(self.state, 1, first);
            ffi::lua_rawgeti_(self.state, 1, second);
        }
    }

    /// Sets two elements to the values at the top, the first one to the upper, and pops these.
    unsafe fn set(&self, first: c_int, second: c_int) {
        // SAFETY: as `push`.
        unsafe {
            ffi::lua_rawseti_(self.state, 1, first);
            ffi::lua_rawseti_(self.state, 1, second);
        }
    }

    unsafe fn pop(&self, count: c_int) {
        // SAFETY: so many values were pushed.
        unsafe { ffi::lua_settop(self.state, -count - 1) }
    }

    /// Swaps two elements when the second is less than the first.
    unsafe fn order(&mut self, first: c_int, second: c_int) -> bool {
        // SAFETY: as `sort`.
        unsafe {
            self.push(first, second);
            if self.is_less(-1, -2) {
                self.set(first, second);
                return true;
            }
            self.pop(2);
        }
        false
    }

    /// Sorts the elements from `first` to `last`.
    unsafe fn range(&mut self, mut first: c_int, mut last: c_int) {
        // SAFETY: as `sort`: nothing stays on the stack where it calls itself, for the smaller
        // part, so some thirty times within each other.
        unsafe {
            while first < last {
                self.order(first, last);
                if last - first == 1 {
                    return;
                }
                let middle = first.midpoint(last);
                if !self.order(first, middle) {
                    self.order(middle, last);
                }
                if last - first == 2 {
                    return;
                }
                let split = self.partition(first, middle, last);
                if split - first < last - split {
                    self.range(first, split - 1);
                    first = split + 1;
                } else {
                    self.range(split + 1, last);
                    last = split - 1;
                }
            }
        }
    }

    /// Parts the elements by the middle one, and returns its new place.
    unsafe fn partition(&mut self, first: c_int, middle: c_int, last: c_int) -> c_int {
        let state = self.state;
        // SAFETY: as `sort`. The pivot stays at the top, below the elements that are compared.
        unsafe {
            ffi::lua_rawgeti_(state, 1, middle);
            ffi::lua_pushvalue(state, -1);
            ffi::lua_rawgeti_(state, 1, last - 1);
            self.set(middle, last - 1);
            let (mut up, mut down) = (first, last - 1);
            loop {
                up += 1;
                ffi::lua_rawgeti_(state, 1, up);
                while self.is_less(-1, -2) {
                    if up > last {
                        raise_text(state, BAD_ORDER);
                    }
                    self.pop(1);
                    up += 1;
                    ffi::lua_rawgeti_(state, 1, up);
                }
                down -= 1;
                ffi::lua_rawgeti_(state, 1, down);
                while self.is_less(-3, -1) {
                    if down < first {
                        raise_text(state, BAD_ORDER);
                    }
                    self.pop(1);
                    down -= 1;
                    ffi::lua_rawgeti_(state, 1, down);
                }
                if down < up {
                    self.pop(3);
                    break;
                }
                self.set(up, down);
            }
            self.push(last - 1, up);
            self.set(last - 1, up);
            up
        }
    }
}

const BAD_ORDER: &[u8] = b"invalid order function for sorting";
