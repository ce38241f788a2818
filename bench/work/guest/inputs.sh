# What several parts need, made once a boot, in $in.

# text MEGABYTES: $in/textMEGABYTES, whole lines; beyond 4 it repeats itself
text() {
  [ -e "$in/text$1" ] || if [ $1 -le 4 ]; then cat "/work/text$1"; else for ((i = 0; i < $1; i += 4)); do cat /work/text4; done; fi >"$in/text$1"
}

# $in/program: the parts in C
program() {
  [ -e "$in/program" ] || gcc -O2 -o "$in/program" /work/program.c -lm
}

# apt's only source is the repository on the disk
repository() {
  rm -f /etc/apt/sources.list.d/*
  echo 'deb [trusted=yes] file:/work/repo ./' >/etc/apt/sources.list
}
