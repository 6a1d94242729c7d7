//! Enumerations that travel as an `int`.

/// Defines an enumeration and its `TryFrom<i32>`, whose error names `$what` and the number nobody knows.
macro_rules! wire_enum {
    (
        $(#[$attribute:meta])*
        pub enum $name:ident, $what:literal {
            $( $(#[$variant_attribute:meta])* $variant:ident = $code:literal, )+
        }
    ) => {
        $(#[$attribute])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
        #[repr(i32)]
        pub enum $name {
            $( $(#[$variant_attribute])* $variant = $code, )+
        }

        impl $name {
            /// Every one there is.
            pub const ALL: &[$name] = &[$( $name::$variant, )+];
        }

        impl TryFrom<i32> for $name {
            type Error = $crate::jute::DecodeError;

            fn try_from(code: i32) -> Result<$name, Self::Error> {
                match code {
                    $( $code => Ok($name::$variant), )+
                    _ => Err($crate::jute::DecodeError::UnknownCode { what: $what, code }),
                }
            }
        }
    };
}
