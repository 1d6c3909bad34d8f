// Runes everywhere: state says that it is state.
export default { compilerOptions: { runes: true } };
