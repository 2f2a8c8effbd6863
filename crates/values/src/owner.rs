//! The eight bytes that own a collection: a pointer to one of several forms, with the form in its
//! low bits.
//!
//! A collection lies in an entry as one pointer. Small ones are packed in a single block that the
//! pointer leads to directly; a box in between would cost as much as the overhead of several
//! elements. So the pointer itself has to name the form: all blocks are aligned to 8,
//! which leaves three bits.
//!
//! Collections are read through views, references to types without a size. The address of a view
//! is a word that says where the form is, and nothing lies at that address itself:
//!
//! ```text
//!  63      48 47                                  3 2    0
//!  +---------+-------------------------------------+------+
//!  | offset  | block                               | mark |
//!  +---------+-------------------------------------+------+
//! ```
//! With offset 0 that is the word of an owner. Another offset says that the packed form lies inside
//! of a larger block, an entry of the keyspace, which owns it: such a form is only read.

use crate::alloc::ALIGN;
use std::marker::PhantomData;
use std::mem::ManuallyDrop;
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;

const TAG_MASK: usize = ALIGN - 1;

/// Addresses of user space have 47 bits on x86-64 and 48 on aarch64, as the hash table relies on.
const OFFSET_SHIFT: u32 = 48;
const ADDRESS_MASK: usize = (1 << OFFSET_SHIFT) - ALIGN;

/// The address of a view of a form with this mark that lies `offset` bytes behind `block`.
#[inline]
pub(crate) fn embedded(block: NonNull<u8>, offset: u16, tag: u8) -> usize {
    let rest = usize::from(offset) << OFFSET_SHIFT | usize::from(tag) & TAG_MASK;
    block.as_ptr().expose_provenance() | rest
}

/// The mark of the address of a view.
#[inline]
pub(crate) fn tag_of(address: usize) -> usize {
    address & TAG_MASK
}

/// True when the form of a view with this address lies inside of a larger block.
#[inline]
pub(crate) fn is_embedded(address: usize) -> bool {
    address >> OFFSET_SHIFT != 0
}

/// The beginning of the form of a view with this address.
///
/// The pointer is made from the address alone: a reference to a type without a size has no right to
/// any bytes. The rights are those of the block, which were exposed when the address was made.
#[inline]
pub(crate) fn form_of(address: usize) -> NonNull<u8> {
    let at = (address & ADDRESS_MASK).wrapping_add(address >> OFFSET_SHIFT);
    // SAFETY: the sum is an address inside of a block, which is not zero.
    unsafe { NonNull::new_unchecked(std::ptr::with_exposed_provenance_mut(at)) }
}

/// A view with this address, which is not zero.
///
/// # Safety
/// `V` has no size. The form that the address leads to stays as it is during `'a`.
#[inline]
pub(crate) unsafe fn view_at<'a, V>(address: usize) -> &'a V {
    const { assert!(size_of::<V>() == 0 && align_of::<V>() == 1) };
    // SAFETY: the view has no size, so any address but zero is that of one.
    unsafe { &*std::ptr::without_provenance(address) }
}

/// A form that a collection can take: something owned through one pointer aligned to 8.
///
/// # Safety
/// `into_raw` returns a pointer aligned to 8, and `from_raw` with it gives the same value back.
pub(crate) unsafe trait Form: Sized {
    /// The form, borrowed for reading.
    type Ref<'a>: Copy
    where
        Self: 'a;

    /// A copy of a borrowed form.
    fn copy_of(borrowed: Self::Ref<'_>) -> Self;

    /// Gives ownership to the pointer.
    fn into_raw(self) -> NonNull<u8>;

    /// Takes ownership from the pointer.
    ///
    /// # Safety
    /// `raw` came from `into_raw` of this form and is not used as an owner again.
    unsafe fn from_raw(raw: NonNull<u8>) -> Self;

    /// Borrows the form.
    ///
    /// # Safety
    /// `raw` came from `into_raw` of this form, which is neither changed nor freed during `'a`.
    unsafe fn borrow<'a>(raw: NonNull<u8>) -> Self::Ref<'a>
    where
        Self: 'a;
}

// SAFETY: the pointer of a box comes from the box; its alignment is checked when the impl is used.
unsafe impl<T: Clone> Form for Box<T> {
    type Ref<'a>
        = &'a T
    where
        T: 'a;

    fn copy_of(borrowed: &T) -> Self {
        Box::new(borrowed.clone())
    }

    fn into_raw(self) -> NonNull<u8> {
        const { assert!(align_of::<T>() == ALIGN) };
        NonNull::from(Box::leak(self)).cast()
    }

    unsafe fn from_raw(raw: NonNull<u8>) -> Self {
        // SAFETY: `raw` came from `into_raw`, which leaked a box of this type, and owns it alone.
        unsafe { Box::from_raw(raw.cast().as_ptr()) }
    }

    unsafe fn borrow<'a>(raw: NonNull<u8>) -> &'a T
    where
        T: 'a,
    {
        // SAFETY: `raw` leads to the value of a leaked box, which nothing changes or frees during
        // 'a.
        unsafe { raw.cast().as_ref() }
    }
}

/// An owning pointer with a mark from 0 to 7. The collection that has it keeps mark and form in
/// agreement, and drops the form.
#[repr(transparent)]
pub(crate) struct Owner {
    word: NonNull<u8>,
}

impl Owner {
    /// Takes ownership of `form`.
    pub(crate) fn new<F: Form>(form: F, tag: usize) -> Owner {
        debug_assert!(tag <= TAG_MASK);
        let raw = form.into_raw();
        debug_assert!(raw.addr().get() & TAG_MASK == 0);
        Owner {
            word: raw.map_addr(|address| address | (tag & TAG_MASK)),
        }
    }

    /// The mark.
    #[inline]
    pub(crate) fn tag(&self) -> usize {
        self.word.addr().get() & TAG_MASK
    }

    /// The word, as the address of a view.
    #[inline]
    pub(crate) fn address(&self) -> usize {
        self.word.as_ptr().expose_provenance()
    }

    #[inline]
    fn raw(&self) -> NonNull<u8> {
        let address = self.word.as_ptr().map_addr(|address| address & !TAG_MASK);
        // SAFETY: the address without the mark is that of a block, which is not zero.
        unsafe { NonNull::new_unchecked(address) }
    }

    /// Borrows the form for change.
    ///
    /// # Safety
    /// The owner was made from an `F`.
    #[inline]
    pub(crate) unsafe fn edit<F: Form>(&mut self) -> Editing<'_, F> {
        // SAFETY: the owner was made from an `F`, and it is borrowed alone as long as the guard.
        // The guard owns the form until it gives it back in its drop.
        let form = ManuallyDrop::new(unsafe { F::from_raw(self.raw()) });
        Editing {
            owner: self,
            form,
            borrow: PhantomData,
        }
    }

    /// Takes the form out.
    ///
    /// # Safety
    /// The owner was made from an `F` and is not used again, except to be overwritten without a
    /// drop.
    #[inline]
    pub(crate) unsafe fn take<F: Form>(&mut self) -> F {
        // SAFETY: the owner was made from an `F`, and gives up its ownership here.
        unsafe { F::from_raw(self.raw()) }
    }
}

/// A form, borrowed for change; the owner gets its (possibly new) address when the guard is
/// dropped.
pub(crate) struct Editing<'a, F: Form> {
    owner: &'a mut Owner,
    form: ManuallyDrop<F>,
    borrow: PhantomData<&'a mut F>,
}

impl<F: Form> Deref for Editing<'_, F> {
    type Target = F;

    #[inline]
    fn deref(&self) -> &F {
        &self.form
    }
}

impl<F: Form> DerefMut for Editing<'_, F> {
    #[inline]
    fn deref_mut(&mut self) -> &mut F {
        &mut self.form
    }
}

impl<F: Form> Drop for Editing<'_, F> {
    #[inline]
    fn drop(&mut self) {
        let tag = self.owner.tag();
        // SAFETY: the form is taken out of the guard once, here, and the guard is not used
        // afterwards.
        let form = unsafe { ManuallyDrop::take(&mut self.form) };
        *self.owner = Owner::new(form, tag);
    }
}

/// Defines how a collection, a struct with the field `owner`, owns one of several forms:
///
/// ```text
/// Hash, HashView {
///     0 => Packed(Listpack) as View<'a>, packed, packed_mut;
///     |    |      |            |         |       function that borrows the form for change, if it
///     |    |      |            |         |       is this one (optional)
///     |    |      |            |         function that makes a collection of the form
///     |    |      |            what borrows the form for reading
///     |    |      what owns the form
///     |    variant of the enum `Form`, which `form()` returns
///     mark of the owner
/// }
/// ```
/// A copy of the collection has the same form; a drop frees it. The view is a type without a size
/// that has the methods for reading; the collection derefs to it.
macro_rules! forms {
    ($(#[$doc:meta])* $collection:ident, $view:ident {
        $($mark:literal => $form:ident($owned:ty) as $borrowed:ty, $make:ident $(, $edit:ident)?;)+
    }) => {
        $(#[$doc])*
        #[repr(C)]
        pub struct $view {
            // The address of the view says where the form is.
            nothing: [u8; 0],
        }

        /// The forms, borrowed for reading.
        #[derive(Clone, Copy)]
        enum Form<'a> {
            $($form($borrowed)),+
        }

        const _: () = {
            const fn moves_between_threads<T: Send + Sync>() {}
            $(moves_between_threads::<$owned>();)+
        };
        // SAFETY: all forms are Send, as checked above, and a collection owns the one it has alone.
        unsafe impl Send for $collection {}
        // SAFETY: all forms are Sync, and methods taking &self only read the form.
        unsafe impl Sync for $collection {}

        impl $collection {
            $(
                fn $make(form: impl Into<$owned>) -> $collection {
                    let owner = $crate::owner::Owner::new::<$owned>(form.into(), $mark);
                    $collection { owner }
                }

                $(
                    #[inline(always)]
                    fn $edit(&mut self) -> Option<$crate::owner::Editing<'_, $owned>> {
                        // SAFETY: the mark is that of the form that the owner was made from.
                        (self.owner.tag() == $mark).then(|| unsafe { self.owner.edit() })
                    }
                )?
            )+
        }

        impl $view {
            /// Looks at a packed form that lies `offset` bytes behind `block`.
            ///
            /// # Safety
            /// `block` is aligned to 8; the bytes of [`Self::pack_bytes`] of a view with this
            /// [`Self::mark`] lie there, and are neither changed nor freed during `'a`. The offset
            /// is not 0.
            #[inline]
            pub unsafe fn embedded<'a>(
                block: std::ptr::NonNull<u8>,
                offset: u16,
                mark: u8,
            ) -> &'a $view {
                let address = $crate::owner::embedded(block, offset, mark);
                // SAFETY: the form lies there and stays as it is during `'a`.
                unsafe { $crate::owner::view_at(address) }
            }

            #[inline]
            fn address(&self) -> usize {
                std::ptr::from_ref(self).addr()
            }

            /// The mark of the form, from 0 to 7.
            #[inline]
            pub fn mark(&self) -> u8 {
                $crate::owner::tag_of(self.address()) as u8
            }

            /// True when the form lies inside of a larger block.
            #[inline]
            fn is_embedded(&self) -> bool {
                $crate::owner::is_embedded(self.address())
            }

            #[inline(always)]
            fn form(&self) -> Form<'_> {
                let at = $crate::owner::form_of(self.address());
                // SAFETY: the address has the mark of the form that it leads to, which stays as it
                // is during the borrow of the view.
                unsafe {
                    match $crate::owner::tag_of(self.address()) {
                        $($mark => Form::$form(<$owned as $crate::owner::Form>::borrow(at)),)+
                        _ => std::hint::unreachable_unchecked(),
                    }
                }
            }
        }

        impl std::ops::Deref for $collection {
            type Target = $view;

            #[inline]
            fn deref(&self) -> &$view {
                // SAFETY: the borrow of the owner keeps the form as it is.
                unsafe { $crate::owner::view_at(self.owner.address()) }
            }
        }

        impl std::borrow::Borrow<$view> for $collection {
            fn borrow(&self) -> &$view {
                self
            }
        }

        impl ToOwned for $view {
            type Owned = $collection;

            fn to_owned(&self) -> $collection {
                match self.form() {
                    $(Form::$form(form) => {
                        $collection::$make(<$owned as $crate::owner::Form>::copy_of(form))
                    })+
                }
            }
        }

        impl Clone for $collection {
            fn clone(&self) -> Self {
                (**self).to_owned()
            }
        }

        impl Drop for $collection {
            fn drop(&mut self) {
                match self.owner.tag() {
                    $(
                        // SAFETY: the mark is that of the form that the owner was made from, and
                        // the owner is not used again.
                        $mark => drop(unsafe { self.owner.take::<$owned>() }),
                    )+
                    _ => {}
                }
            }
        }
    };
}

pub(crate) use forms;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_survives_marks_and_changes() {
        let mut owner = Owner::new(Box::new(vec![1u64]), 3);
        assert_eq!(owner.tag(), 3);
        // SAFETY: the owner was made from this type.
        unsafe {
            owner.edit::<Box<Vec<u64>>>().push(2);
            let raw = form_of(owner.address());
            assert_eq!(<Box<Vec<u64>> as Form>::borrow(raw), &vec![1, 2]);
            assert_eq!(*owner.take::<Box<Vec<u64>>>(), [1, 2]);
        }
    }
}
