//! One cookie of a request's.

use super::field::is;

/// What a cookie of this name says: the first one, as all servers take it, where it is plain text.
pub fn find(fields: &[httparse::Header<'_>], name: &str) -> Option<String> {
    let of_field = |field: &httparse::Header<'_>| {
        let pairs = field.value.split(|byte| *byte == b';').map(<[u8]>::trim_ascii);
        let mut pairs = pairs;
        pairs.find_map(|pair| pair.strip_prefix(name.as_bytes())?.strip_prefix(b"=")).map(<[u8]>::to_vec)
    };
    let value = fields.iter().filter(|field| is(field.name, "cookie")).find_map(of_field)?;
    String::from_utf8(value).ok()
}

/// The same field without the cookie of this name.
pub fn without(value: &[u8], name: &str) -> Vec<u8> {
    let is_it = |pair: &&[u8]| pair.strip_prefix(name.as_bytes()).is_some_and(|rest| rest.starts_with(b"="));
    let pairs = value.split(|byte| *byte == b';').map(<[u8]>::trim_ascii);
    pairs.filter(|pair| !is_it(pair)).collect::<Vec<_>>().join(&b"; "[..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cookie_is_left_out_and_the_others_stay() {
        for (value, left) in [("a=1; to=x;b=2", "a=1; b=2"), ("to=x", ""), ("too=x", "too=x"), ("a; to=", "a")] {
            assert_eq!(without(value.as_bytes(), "to"), left.as_bytes(), "{value}");
        }
    }

    #[test]
    fn a_cookie_is_found_by_its_whole_name() {
        let fields = [("Cookie", "a=1; worker=x.y ;b=2"), ("cookie", "worker=second"), ("X", "worker=no")];
        let fields = fields.map(|(name, value)| httparse::Header { name, value: value.as_bytes() });
        for (name, value) in [("worker", Some("x.y")), ("a", Some("1")), ("work", None), ("er", None), ("c", None)] {
            assert_eq!(find(&fields, name).as_deref(), value, "{name}");
        }
    }
}
