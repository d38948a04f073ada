#!/bin/sh
# vectors.sh REGISTER PREFIX OBJECT -- the kernels in OBJECT are vector code: the product of doubles multiplies whole registers
# (xmm, ymm or zmm), and exp is the vector function of libmvec for this instruction set (b, d or e).
set -eu
register=$1 prefix=$2 object=$3
objdump -d --no-show-raw-insn --disassemble=mul_f64 "$object" | grep -q "mulpd.*%$register" \
  || { echo "$object: mul_f64 has no mulpd on $register registers"; exit 1; }
nm -u "$object" | grep -q " _ZGV${prefix}N[0-9]*v_exp$" || { echo "$object: exp does not call libmvec"; exit 1; }
