# bash: reads names of parts, a line each, runs them and prints for each
#   = begin
#   = end
#   = NAME MICROSECONDS STATUS CHECKSUM
# the first two at the edges of what is timed, and for one that failed lines `! NAME ...`. The clock is bash's own.
stty -echo 2>/dev/null
export PYTHONHASHSEED=0 PERL_HASH_SEED=0 DEBIAN_FRONTEND=noninteractive in=/tmp/in
. /work/inputs.sh
mkdir -p $in
# By then a machine has been at work for long enough to have compiled what is hot of itself.
program
echo '= ready'
while read -r name; do
  rm -rf /tmp/part && mkdir /tmp/part && cd /tmp/part || exit
  . "/work/parts/$name.sh"
  prepare >log 2>&1 </dev/null || { sed "s/^/! $name: /" log | tail -20; echo "= $name 0 1 -"; continue; }
  echo '= begin'
  begin=$EPOCHREALTIME
  work >out 2>log </dev/null
  status=$?
  end=$EPOCHREALTIME
  echo '= end'
  [ $status = 0 ] || sed "s/^/! $name: /" log | tail -20
  sum=$(check 2>&1 | sha256sum)
  echo "= $name $((${end/./} - ${begin/./})) $status ${sum:0:16}"
done
