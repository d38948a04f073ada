# extract.awk -- takes the programs out of a manual page: awk -v folder=DIR -f extract.awk docs/guide.md
#
# Program number n, a ```c block with a main, becomes DIR/snippet_n.c, and the ```text block after it
# DIR/snippet_n.expected. The last line printed is the number of programs. A program without output is an error.

/^```c$/    { inside = "c"; text = ""; next }
/^```text$/ { inside = "text"; text = ""; next }
/^```$/ && inside == "c" {
  inside = ""
  if (text ~ /int main\(/) {
    if (waiting) fail("program without expected output")
    waiting = 1
    printf "%s", text > (folder "/snippet_" ++programs ".c")
  }
  next
}
/^```$/ && inside == "text" {
  inside = ""
  if (waiting) printf "%s", text > (folder "/snippet_" programs ".expected")
  waiting = 0
  next
}
/^```/ { inside = inside == "" ? "other" : ""; next }
inside { text = text $0 "\n" }

function fail(what) { print FILENAME ":" FNR ": " what > "/dev/stderr"; failed = 1; exit 1 }

END {
  if (!failed && waiting) { print FILENAME ": last program without expected output" > "/dev/stderr"; exit 1 }
  if (!failed) print programs + 0
}
