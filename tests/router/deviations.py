"""Cases that are known to end otherwise, with the reason. One that comes right fails, so that it leaves this list."""

KNOWN = {
    "h2": {
        "8.1.2.1/3 a pseudo-field in the trailers":
            "the h2 crate drops pseudo-fields of trailers without a word; none of them reaches the app",
    },
}
