//! The eight bytes that own a collection: a pointer to one of several forms, with the form in its
//! low bits.
//!
//! A collection lies in an entry as one pointer. Small ones are packed in a single block that the
//! pointer leads to directly; a box in between would cost as much as the overhead of several
//! elements. So the pointer itself has to name the form: all blocks are aligned to 8,
//! which leaves three bits.

use crate::alloc::ALIGN;
use std::marker::PhantomData;
use std::mem::ManuallyDrop;
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;

const TAG_MASK: usize = ALIGN - 1;

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

    #[inline]
    fn raw(&self) -> NonNull<u8> {
        let address = self.word.as_ptr().map_addr(|address| address & !TAG_MASK);
        // SAFETY: the address without the mark is that of a block, which is not zero.
        unsafe { NonNull::new_unchecked(address) }
    }

    /// Borrows the form for reading.
    ///
    /// # Safety
    /// The owner was made from an `F`.
    #[inline]
    pub(crate) unsafe fn get<F: Form>(&self) -> F::Ref<'_> {
        // SAFETY: the owner was made from an `F`, and its borrow keeps the form as it is.
        unsafe { F::borrow(self.raw()) }
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
/// Hash {
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
/// A copy of the collection has the same form; a drop frees it.
macro_rules! forms {
    ($collection:ident {
        $($mark:literal => $form:ident($owned:ty) as $borrowed:ty, $make:ident $(, $edit:ident)?;)+
    }) => {
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

            #[inline(always)]
            fn form(&self) -> Form<'_> {
                // SAFETY: the mark is that of the form that the owner was made from, so there is no
                // other one.
                unsafe {
                    match self.owner.tag() {
                        $($mark => Form::$form(self.owner.get::<$owned>()),)+
                        _ => std::hint::unreachable_unchecked(),
                    }
                }
            }
        }

        impl Clone for $collection {
            fn clone(&self) -> Self {
                match self.form() {
                    $(Form::$form(form) => {
                        $collection::$make(<$owned as $crate::owner::Form>::copy_of(form))
                    })+
                }
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
            assert_eq!(owner.get::<Box<Vec<u64>>>(), &vec![1, 2]);
            assert_eq!(*owner.take::<Box<Vec<u64>>>(), [1, 2]);
        }
    }
}
