# Arithmetic, strings, arrays and functions.
add() { sum=$(((sum * 33 + $1) % 1000003)); }
declare -A count
sum=0
for ((i = 0; i < 6000; i++)); do
  add $i
  word=w$((sum % 97))
  count[$word]=$((${count[$word]:-0} + 1))
  case $word in *7) s=${word#w}; sum=$((sum + ${#s})) ;; esac
done
echo "$sum ${#count[@]} ${count[w5]}"
