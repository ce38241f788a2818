# bash: reads names of parts, a line each, runs them and prints for each
#   = NAME MICROSECONDS STATUS CHECKSUM
# and before it, for one that failed, lines `! NAME ...`. The clock around `work` is bash's own.
stty -echo 2>/dev/null
export PYTHONHASHSEED=0 PERL_HASH_SEED=0 DEBIAN_FRONTEND=noninteractive in=/tmp/in
. /work/inputs.sh
mkdir -p $in
echo '= ready'
while read -r name; do
  rm -rf /tmp/part && mkdir /tmp/part && cd /tmp/part || exit
  . "/work/parts/$name.sh"
  prepare >log 2>&1 </dev/null || { sed "s/^/! $name: /" log | tail -20; echo "= $name 0 1 -"; continue; }
  begin=$EPOCHREALTIME
  work >out 2>log </dev/null
  status=$?
  end=$EPOCHREALTIME
  [ $status = 0 ] || sed "s/^/! $name: /" log | tail -20
  sum=$(check 2>&1 | sha256sum)
  echo "= $name $((${end/./} - ${begin/./})) $status ${sum:0:16}"
done
