//! A change of the template under load costs no request.
