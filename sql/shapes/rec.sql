-- Whether a recording exists and the caller may listen to it. A tag of only Unicode white space has no recording.
coalesce(
  %(may_listen)s
  AND cdr.audio_recorded
  AND cdr.duration > 0
  AND btrim(
    cdr.local_tag,
    E'\t\n\x0b\f\r \u0085\u00a0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u2028\u2029\u202f\u205f\u3000'
  ) <> '',
  false
)
