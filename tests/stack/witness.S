/* SPDX-License-Identifier: Apache-2.0 */
/* A kernel that says which slot it is of (SLOT, given by whoever assembles it) and where it would look for its root
 * file system, and powers the machine off:  "witness A root=/dev/vda1", to the end of the command line.
 * It relies on QEMU's machine `virt`: a PL011 at UART, PSCI by hypervisor calls.  On entry x0 holds the address of the
 * device tree, whose bytes 4-7 are its size, big-endian.
 */
        .equ    UART, 0x09000000
        .equ    SYSTEM_OFF, 0x84000008

        /* The header of an arm64 Image (64 bytes): code, load offset, size, flags, magic. */
        b       begin
        .word   0
        .quad   0
        .quad   4096
        .quad   0b1010                  /* little-endian, pages of 4 KiB, anywhere in memory */
        .quad   0, 0, 0
        .ascii  "ARM\x64"
        .word   0

begin:  mov     x9, #UART
        ldr     w1, [x0, #4]
        rev     w1, w1
        add     x1, x0, x1              /* the end of the device tree */
        adr     x2, name
        bl      say

search: cmp     x0, x1                  /* x0: where the words may begin */
        b.hs    off
        adr     x3, words
        mov     x4, x0
match:  ldrb    w5, [x3], #1
        cbz     w5, found
        ldrb    w6, [x4], #1
        cmp     w5, w6
        b.eq    match
        add     x0, x0, #1
        b       search
found:  mov     x2, x0
        bl      say

off:    adr     x2, end
        bl      say
        ldr     w0, =SYSTEM_OFF
        hvc     #0
        b       .

        /* Print the text at x2, up to its zero. */
say:    ldrb    w5, [x2], #1
        cbz     w5, said
        strb    w5, [x9]
        b       say
said:   ret

name:   .ascii  "\r\nwitness "
        .byte   SLOT
        .asciz  " "
words:  .asciz  "root=/dev/vda"
end:    .asciz  "\r\n"
        .balign 4
